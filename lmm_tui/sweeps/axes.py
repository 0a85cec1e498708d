"""What a sweep varies: `optim.lr=1e-3,3e-3` (values) and `optim.lr=1e-4..1e-2 log` (a range)."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmm_tui.engine.config.assignments import parse_assignment, parse_value
from lmm_tui.engine.config.options import Option, options
from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.errors import LmmError

_NUMBER = r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*(log)?\s*")
_PART = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^,"'])+""")

Value = str | int | float | bool


class SweepError(LmmError):
    """A sweep that cannot be made, read or continued."""


@dataclass(frozen=True)
class Axis:
    """One setting and what it may be: `choices`, or a number from `low` to `high`."""

    key: str
    choices: tuple[Value, ...] = ()
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
    known = {option.key: option for option in options()}
    axes: dict[str, Axis] = {}
    fixed: list[str] = []
    for text in texts:
        key, _ = parse_assignment(text)
        option = known.get(key)
        axis = axis_of(option, text.partition("=")[2]) if option else None
        if axis is None:
            fixed.append(text)
        elif key in axes:
            raise SweepError("{key}: varied twice; give all its values in one --set", key=key)
        else:
            axes[key] = axis
    return [*axes.values()], fixed


def check(axes: Sequence[Axis], base: RunConfig) -> None:
    """Raise ConfigError where a value, or an end of a range, is not allowed beside `base`."""
    for axis in axes:
        for value in axis.choices or (_end(axis, axis.low), _end(axis, axis.high)):
            with_changes(base, {axis.key: value})


def grid_size(axes: Sequence[Axis]) -> int:
    """How many points a grid has; only for axes of values."""
    return math.prod(len(axis.choices) for axis in axes)


def grid(axes: Sequence[Axis]) -> list[dict[str, Value]]:
    """Every combination, the last axis changing fastest."""
    points: list[dict[str, Value]] = [{}]
    for axis in axes:
        points = [point | {axis.key: value} for point in points for value in axis.choices]
    return points


def written(axis: Axis) -> str:
    """An axis as it is typed: `optim.lr=0.0001..0.01 log`."""
    if axis.choices:
        return f"{axis.key}={','.join(map(str, axis.choices))}"
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
    if option.kind is list:
        return None
    if found := _RANGE.fullmatch(text):
        return _range(option, *found.groups())
    if option.kind in (int, float) and ".." in text:
        raise SweepError(
            "{key}={text}: no range; write it as 1e-4..1e-2, or 1e-4..1e-2 log",
            key=option.key,
            text=text,
        )
    parts = [part.strip() for part in _PART.findall(text)]
    if len(parts) < 2:
        return None
    values = tuple(dict.fromkeys(map(_value, parts)))
    if len(values) < len(parts):
        raise SweepError(
            "{key}={text}: a value stands there twice; leave one out", key=option.key, text=text
        )
    return Axis(option.key, values)


def _range(option: Option, low: str, high: str, log: str | None) -> Axis:
    if option.kind not in (int, float):
        raise SweepError(
            "{key}: has no range, it is no number; give values with commas", key=option.key
        )
    ends = [parse_value(low), parse_value(high)]
    whole = option.kind is int
    if whole and not all(type(end) is int for end in ends):
        raise SweepError("{key}: the ends of its range are whole numbers", key=option.key)
    axis = Axis(option.key, (), float(ends[0]), float(ends[1]), bool(log), whole)
    if axis.low >= axis.high:
        raise SweepError(
            "{key}: the range {low}..{high} is empty; the lower end is first",
            key=option.key,
            low=low,
            high=high,
        )
    if axis.log and axis.low <= 0:
        raise SweepError("{key}: a log range begins above 0 (got {low})", key=option.key, low=low)
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
