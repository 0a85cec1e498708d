"""What a sweep varies: `optim.lr=1e-3,3e-3` (values) and `optim.lr=1e-4..1e-2 log` (a range).

A text may have commas of its own (a path, a command): several texts are told from one by quotes,
`start_from="a","b"`. Several lists are written as `lora.targets=["q_proj"],["q_proj","v_proj"]`.
What a setting of a stage of one's own may be is not known here: numbers, true and false are values,
a range of whole numbers has no point, and each text is in quotes.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from lmm_tui.engine.config.assignments import parse_assignment, parse_value, toml_value
from lmm_tui.engine.config.options import Option, lookup, options_by_key
from lmm_tui.engine.config.resolve import resolve, with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.errors import LmmError

_NUMBER = r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*(log)?\s*")
_QUOTED = r""" "(?:[^"\\]|\\.)*" | '[^']*' """
_PART = re.compile(rf"(?: {_QUOTED} | \[(?:{_QUOTED}|[^\]\"'])*\] | [^,\"'\[] )*", re.VERBOSE)
_ONE_QUOTED = re.compile(_QUOTED, re.VERBOSE)

_COMBINATIONS_CHECKED = 500

Value = str | int | float | bool


class SweepError(LmmError):
    """A sweep that cannot be made, read or continued."""


@dataclass(frozen=True)
class Axis:
    """One setting and what it may be: `choices`, or a number from `low` to `high`."""

    key: str
    choices: tuple[Value, ...] = ()
    """Lists are here as TOML, since Optuna keeps plain values only; see `settings`."""
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    @property
    def is_range(self) -> bool:
        return not self.choices


def split_assignments(texts: Sequence[str]) -> tuple[list[Axis], list[str]]:
    """Those of `--set` that vary a setting, as axes, and the others as they are.

    Raises SweepError where a text varies a setting in no way there is.
    """
    known = options_by_key()
    axes: dict[str, Axis] = {}
    fixed: list[str] = []
    for text in texts:
        key, _ = parse_assignment(text)
        option = known.get(key)
        axis = axis_of(option, text.partition("=")[2]) if option else _own_axis(key, text)
        if axis is None:
            if option is not None:
                _refuse_comma(option, text)
            fixed.append(text)
        elif key in axes:
            raise SweepError("{key}: varied twice; give all its values in one --set", key=key)
        else:
            axes[key] = axis
    return [*axes.values()], fixed


def check(axes: Sequence[Axis], base: RunConfig) -> None:
    """Raise ConfigError where a value, or an end of a range, is not allowed beside `base`.

    Of values the first combinations are made, too: what does not go together is said at once.
    """
    known = options_by_key()  # Not those of a stage of one's own.
    for axis in axes:
        meant = []
        for value in axis.choices or (_end(axis, axis.low), _end(axis, axis.high)):
            changed = with_changes(base, settings({axis.key: value}))
            meant.append(lookup(changed, axis.key) if axis.key in known else value)
            if meant.index(meant[-1]) < len(meant) - 1:
                raise _twice(axis.key, axis.choices)
    if not any(axis.is_range for axis in axes):
        plain = base.model_dump(exclude_none=True)
        for point in islice(grid(axes), _COMBINATIONS_CHECKED):
            resolve(assignments=settings(point), base=plain)


def space_size(axes: Sequence[Axis]) -> float:
    """How many points there are; infinity where a range has all numbers between its ends."""
    return math.prod(
        len(axis.choices) if axis.choices else axis.high - axis.low + 1 if axis.whole else math.inf
        for axis in axes
    )


def grid(axes: Sequence[Axis]) -> Iterator[dict[str, Value]]:
    """Every combination of axes of values, the last one changing fastest."""
    keys = [axis.key for axis in axes]
    for values in product(*(axis.choices for axis in axes)):
        yield dict(zip(keys, values, strict=True))


def settings(point: Mapping[str, Value]) -> dict[str, Any]:
    """A point as values of the configuration: lists are lists again."""
    return {
        key: parse_value(str(value)) if _is_list(key) else value for key, value in point.items()
    }


def _is_list(key: str) -> bool:
    option = options_by_key().get(key)
    return option is not None and option.kind is list


def written(axis: Axis) -> str:
    """An axis as it is typed: `optim.lr=0.0001..0.01 log`."""
    if axis.choices:
        option = options_by_key().get(axis.key)
        quoted = option is None or _is_free(option)
        texts = (
            toml_value(value) if quoted or isinstance(value, bool) else str(value)
            for value in axis.choices
        )
        return f"{axis.key}={','.join(texts)}"
    low, high = _end(axis, axis.low), _end(axis, axis.high)
    return f"{axis.key}={low}..{high}" + (" log" if axis.log else "")


def short(point: Mapping[str, Any]) -> str:
    """A point on one line, such as `lr 0.003, batch_size 8`."""
    parts = (f"{key.rpartition('.')[2]} {shown(value)}" for key, value in point.items())
    return ", ".join(parts)


def axis_of(option: Option, text: str) -> Axis | None:
    """How a text varies an option; None where it is one value. Raises SweepError."""
    if option.key in ("name", "runs_dir", "group"):
        if "," in text or ".." in text:
            raise SweepError("{key}: the same for all trials; give one value", key=option.key)
        return None
    if option.kind is not list and (found := _RANGE.fullmatch(text)):
        return _range(option.key, option.kind, *found.groups())
    if option.kind in (int, float) and ".." in text:
        raise SweepError(
            "{key}={text}: no range; write it as 1e-4..1e-2, or 1e-4..1e-2 log",
            key=option.key,
            text=text,
        )
    parts = _parts(text)
    if len(parts) < 2:
        return None
    if _is_free(option) and not all(
        part in option.choices or _ONE_QUOTED.fullmatch(part) for part in parts
    ):
        return None
    if option.kind is list and not all(part.startswith("[") for part in parts):
        return None
    if not all(parts):
        raise SweepError(
            "{key}={text}: nothing stands before or after a comma; leave the comma out",
            key=option.key,
            text=text,
        )
    return values_axis(
        option.key, [part if option.kind is list else _value(part) for part in parts]
    )


def _own_axis(key: str, assignment: str) -> Axis | None:
    """How a setting of a stage of one's own is varied. Raises SweepError."""
    text = assignment.partition("=")[2]
    if not key.startswith("own."):
        return None
    if found := _RANGE.fullmatch(text):
        whole = all(type(parse_value(end)) is int for end in found.groups()[:2])
        return _range(key, int if whole else float, *found.groups())
    parts = _parts(text)
    if len(parts) < 2:
        return None
    values = [_value(part) for part in parts]
    if any(value == part for value, part in zip(values, parts, strict=True)):  # A text, unquoted.
        raise _unclear(key, assignment)
    return values_axis(key, values)


def values_axis(key: str, values: Sequence[Value]) -> Axis:
    """A setting with these values. Raises SweepError where one stands there twice."""
    if len(set(values)) < len(values):
        raise _twice(key, values)
    return Axis(key, tuple(values))


def _twice(key: str, values: Sequence[Value]) -> SweepError:
    text = ",".join(map(str, values))
    return SweepError("{key}={text}: a value stands there twice; leave one out", key=key, text=text)


def _parts(text: str) -> list[str]:
    """What stands between commas that are in no quotes and no brackets; all where that is open."""
    parts, at = [], 0
    while found := _PART.match(text, at):
        parts.append(found[0].strip())
        at = found.end() + 1
        if found.end() == len(text):
            return parts
        if text[found.end()] != ",":
            break
    return [text]


def _is_free(option: Option) -> bool:
    """Whether its value is any text, which may have commas."""
    return option.kind is str and (not option.choices or option.open)


def _refuse_comma(option: Option, text: str) -> None:
    """SweepError where it is not clear whether a text is one value or several."""
    if len(_parts(text.partition("=")[2])) < 2:
        return
    if _is_free(option):
        raise _unclear(option.key, text)
    raise SweepError(
        '{text}: write several lists as {key}=\'["a"],["a","b"]\'', text=text, key=option.key
    )


def _unclear(key: str, assignment: str) -> SweepError:
    return SweepError(
        "{text}: several values, or one with a comma? Write several as "
        '{key}=\'"a","b"\', one as {key}=\'"a,b"\'',
        text=assignment,
        key=key,
    )


def _range(key: str, kind: object, low: str, high: str, log: str | None) -> Axis:
    if kind not in (int, float):
        raise SweepError("{key}: has no range, it is no number; give values with commas", key=key)
    ends = [parse_value(low), parse_value(high)]
    whole = kind is int
    if whole and not all(type(end) is int for end in ends):
        raise SweepError("{key}: the ends of its range are whole numbers", key=key)
    axis = Axis(key, (), float(ends[0]), float(ends[1]), bool(log), whole)
    if axis.low >= axis.high:
        raise SweepError(
            "{key}: the range {low}..{high} is empty; the lower end is first",
            key=key,
            low=low,
            high=high,
        )
    if axis.log and axis.low <= 0:
        raise SweepError("{key}: a log range begins above 0 (got {low})", key=key, low=low)
    return axis


def _value(text: str) -> Value:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, str | int | float | bool) else text


def _end(axis: Axis, end: float) -> Value:
    return int(end) if axis.whole else end


def shown(value: Any) -> str:
    """A value of an axis or a result, in a table."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    found, rest = split_assignments(
        ["optim.lr=1e-4..1e-2 log", "train.batch_size=8, 16", "log.val_every=5"]
    )
    print(found, rest)
    print([short(point) for point in grid([found[1]])])
    for wrong in ("optim.lr=1e-2..1e-4", "train.batch_size=0.5..4", "optim.name=1..2"):
        try:
            split_assignments([wrong])
            raise AssertionError
        except SweepError as refusal:
            print(refusal)
    print("=== 自测通过 ===")
