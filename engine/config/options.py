"""Reflection on the configuration tree: every leaf as an `Option` with its key, help and range.

Flags, form fields and suggestions for misspelt keys are made from these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import create_model
from pydantic.fields import FieldInfo

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.section import Section

_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


@dataclass(frozen=True)
class Option:
    """One leaf of the configuration tree: a flag, a form field or a TOML key."""

    key: str
    """Dotted path such as `optim.lr`."""
    field: FieldInfo
    table: type[Section] | None = None
    """The table of a stage of somebody's own: `RunConfig` knows only that there is one."""

    @property
    def help(self) -> str:
        return self.field.description or ""

    @property
    def label(self) -> str:
        """A short display name: the field's title, or the last part of its key."""
        return self.field.title or self.key.rpartition(".")[2].replace("_", " ")

    @property
    def default(self) -> Any:
        return self.field.get_default(call_default_factory=True)

    @property
    def optional(self) -> bool:
        """Whether it may be unset (None)."""
        return NoneType in get_args(self.field.annotation)

    @property
    def kind(self) -> type:
        """bool, int, float, str or list; a Literal is a str."""
        member = next(
            (
                kind
                for kind in get_args(self.field.annotation)
                if self.optional and kind is not NoneType
            ),
            self.field.annotation,
        )
        origin = get_origin(member) or member
        return origin if isinstance(origin, type) else str

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values of an enumeration; empty for every other option."""
        if get_origin(self.field.annotation) is Literal:
            return get_args(self.field.annotation)
        extra = self.field.json_schema_extra
        listed = extra.get("enum") if isinstance(extra, dict) else None
        return tuple(str(value) for value in listed) if isinstance(listed, list) else ()

    @property
    def open(self) -> bool:
        """Whether other values than the choices are allowed."""
        extra = self.field.json_schema_extra
        return isinstance(extra, dict) and extra.get("open") is True

    @property
    def allowed(self) -> str:
        """The range of a number, such as `whole number from 1 to 65,536`; empty for the rest."""
        if self.kind not in (int, float):
            return ""
        limits = {
            bound: getattr(rule, bound)
            for rule in self.field.metadata
            for bound in _BOUNDS
            if hasattr(rule, bound)
        }
        number = "whole number" if self.kind is int else "number"
        if {"ge", "le"} <= limits.keys():
            return f"{number} from {limits['ge']:,.10g} to {limits['le']:,.10g}"
        return ", ".join([number, *(f"{_BOUNDS[it]} {limits[it]:,.10g}" for it in limits)])


@cache
def options() -> tuple[Option, ...]:
    """All leaves of the tree, depth first, in the order of declaration."""
    return tuple(_leaves(RunConfig, ""))


@cache
def options_by_key() -> Mapping[str, Option]:
    """The same by their dotted keys."""
    return {option.key: option for option in options()}


def _leaves(section: type[Section], prefix: str) -> Iterator[Option]:
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from _leaves(kind, f"{prefix}{name}.")
        elif get_origin(kind) is not dict:
            yield Option(prefix + name, field)


def options_of_own(section: type[Section]) -> Iterator[Option]:
    """The leaves of the table `[own]` of a stage that has such a section."""
    for name, field in section.model_fields.items():
        yield Option(f"own.{name}", field, section)


def value_of(config: RunConfig, option: Option) -> Any:
    """The value of an option; the table of a stage of one's own holds only what was set."""
    if option.table is None:
        return lookup(config, option.key)
    return config.own.get(option.key.removeprefix("own."), option.default)


def checked(option: Option, value: Any) -> Any:
    """A value of a stage of one's own, as its section takes it. Raises ValidationError."""
    name = option.key.removeprefix("own.")
    fields: dict[str, Any] = {name: (option.field.annotation, option.field)}
    alone = create_model("own", __base__=Section, **fields)
    return getattr(alone.model_validate({name: value}), name)


def lookup(config: RunConfig, key: str) -> Any:
    """The value under a dotted key."""
    found = reduce(getattr, key.split("."), config)
    if isinstance(found, list):  # Tables of a list, as TOML has them.
        return [
            one.model_dump(exclude_none=True) if isinstance(one, Section) else one for one in found
        ]
    return found


if __name__ == "__main__":
    for option in options()[:8]:
        print(option.key, option.kind.__name__, option.allowed)
    assert lookup(RunConfig(), "train.steps") == 1000
    print("=== 自测通过 ===")
