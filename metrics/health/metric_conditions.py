"""Conditions on any one metric: stuck at a level, a spike, a rise, a drop, a threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lmm_tui.message import Message
from lmm_tui.metrics.health.condition import (
    NOT_JUDGED,
    Baselines,
    Condition,
    HealthFinding,
    Judged,
    either,
    judged,
    some,
)
from lmm_tui.metrics.health.rolling import (
    Column,
    Lowest,
    Mask,
    MedianWindow,
    Streak,
    Window,
    Windows,
    WindowStart,
)
from lmm_tui.metrics.health.rows import HealthRows, OneRow
from lmm_tui.metrics.names import describe
from lmm_tui.metrics.series.growing_array import Floats

_ONE_BY_ONE = 32
"""Fewer numbers are quicker looked at one by one."""


@dataclass
class StuckAt(Condition):
    """The mean of a metric stays within a margin of a level."""

    metric: str
    level: str | float
    """A number, or the name of a baseline."""
    margin: float
    after: int
    """First step at which it is judged."""
    window: int = 64

    def needs(self) -> tuple[str, ...]:
        return (self.metric,)

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        level = baselines.get(self.level) if isinstance(self.level, str) else self.level
        if level is None or (recent := rows.recent(self.metric, self.window)) is None:
            return NOT_JUDGED
        steps, _, window = recent
        among = (window.count == self.window) & (steps >= self.after)
        near = abs(window.mean - level) <= self.margin
        return judged(steps, near, self._tell, window.mean, level, among=among)

    def _tell(self, step: int, mean: float, level: float) -> HealthFinding:
        what = Message(
            "{metric} is still {mean:.3g} at step {step}, at {level:.3g} ({name})"
            if isinstance(self.level, str)
            else "{metric} is still {mean:.3g} at step {step}, at {level:.3g}",
            metric=describe(self.metric).whole,
            mean=mean,
            step=step,
            level=level,
            name=self.level,
        )
        return HealthFinding(what, {self.metric: mean, "level": level})


@dataclass
class SpikeCondition(Condition):
    """A value above mean + sigmas · deviation of its last `window`, above times · mean, and above
    mean + rise: where all values are small, their noise is no spike.

    A spike is not added to the window (as in OLMo-core's spike detection).
    """

    metric: str
    sigmas: float = 6.0
    times: float = 2.0
    rise: float = 0.0
    window: int = 128
    least: int = 32
    """Values that must be in the window before one is judged."""

    def __post_init__(self) -> None:
        self._recent = Window(self.window)

    def needs(self) -> tuple[str, ...]:
        return (self.metric,)

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        del baselines
        given = rows.finite(self.metric)
        if given is None:
            return NOT_JUDGED
        steps, values = given
        columns = self._in_parts(values) if isinstance(values, np.ndarray) else self._part(values)
        enough, spikes, mean, deviation = columns
        return judged(steps, spikes, self._tell, values, mean, deviation, among=enough)

    def _part(self, values: Column) -> tuple[Mask, Mask, Column, Column]:
        """Of values up to the first spike, which are then in the window: whether each can be judged
        and is a spike; mean and deviation before it."""
        before = self._recent.before(values)
        mean, enough = before.mean, before.count >= self.least
        spikes = enough & (values > self.times * mean) & (mean > 0) & (values > mean + self.rise)
        if not some(spikes):
            self._recent.add(values)
            return enough, spikes, mean, mean
        deviation = before.deviation
        spikes &= values > mean + self.sigmas * deviation
        if not some(spikes):
            self._recent.add(values)
        elif isinstance(values, np.ndarray):
            first = int(spikes.argmax())
            if first:
                self._recent.add(values[:first])
            upto = slice(first + 1)
            return enough[upto], spikes[upto], mean[upto], deviation[upto]
        return enough, spikes, mean, deviation

    def _in_parts(self, values: Floats) -> tuple[Mask, Mask, Floats, Floats]:
        """Of all values. After a spike parts are short at first: others may follow."""
        rows = len(values)
        enough, spikes = np.zeros(rows, bool), np.zeros(rows, bool)
        mean, deviation = np.empty(rows), np.empty(rows)
        at, calm = 0, rows
        while at < rows:
            part = values[at : at + calm] if calm > _ONE_BY_ONE else float(values[at])
            found = self._part(part)
            end = at + np.size(found[0])
            enough[at:end], spikes[at:end], mean[at:end], deviation[at:end] = found
            calm = 0 if spikes[end - 1] else calm + end - at
            at = end
        return enough, spikes, mean, deviation

    def _tell(self, step: int, value: float, mean: float, deviation: float) -> HealthFinding:
        what = Message(
            "{metric} is {value:.3g} at step {step}, its mean was {mean:.3g}",
            metric=describe(self.metric).whole,
            value=value,
            step=step,
            mean=mean,
        )
        return HealthFinding(what, {self.metric: value, "mean": mean, "sigma": deviation})


@dataclass
class Risen(Condition):
    """The mean of a window is far above its lowest value so far.

    By a share of that lowest mean, by `rise`, and by `sigmas` standard deviations of single values,
    which noise alone does not cause in a mean of 64.
    """

    metric: str
    share: float = 0.1
    rise: float = 0.0
    sigmas: float = 1.5
    window: int = 64

    def __post_init__(self) -> None:
        self._best = Lowest()
        self._start = WindowStart(self.window)

    def needs(self) -> tuple[str, ...]:
        return (self.metric,)

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        del baselines
        recent = rows.recent(self.metric, self.window)
        if recent is None:
            return NOT_JUDGED
        steps, _, window = recent
        mean, full = window.mean, window.count == self.window
        best = self._best.add(either(full, mean, math.inf))
        start = self._start.add(steps)
        risen = full & (mean > (1 + self.share) * best) & (best > 0) & (mean - best > self.rise)
        if some(risen):
            risen &= mean - best > self.sigmas * window.deviation
        return judged(steps, risen, self._tell, mean, best, start, among=full)

    def _tell(self, step: int, mean: float, best: float, start: float) -> HealthFinding:
        what = Message(
            "{metric} has risen to {mean:.3g} at step {step}, it was {best:.3g}",
            metric=describe(self.metric).whole,
            mean=mean,
            step=step,
            best=best,
        )
        return HealthFinding(what, {self.metric: mean, "best": best, "window_start": start})


@dataclass
class BelowOwnMedian(Condition):
    """A metric below a share of its own running median, for `rows` rows in succession."""

    metric: str
    share: float = 0.7
    rows: int = 10
    window: int = 256
    least: int = 50

    def __post_init__(self) -> None:
        self._recent = MedianWindow(self.window)
        self._low = Streak()

    def needs(self) -> tuple[str, ...]:
        return (self.metric,)

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        del baselines
        given = rows.finite(self.metric)
        if given is None:
            return NOT_JUDGED
        steps, values = given
        enough = self._recent.count_before(values) >= self.least
        below, median = self._recent.add_below(values, self.share)
        low = self._low.add(below & enough)
        return judged(steps, low >= self.rows, self._tell, values, median, among=enough)

    def _tell(self, step: int, value: float, median: float) -> HealthFinding:
        what = Message(
            "{metric} is {value} at step {step}, its median was {median}",
            metric=describe(self.metric).whole,
            value=_plain(value),
            step=step,
            median=_plain(median),
        )
        return HealthFinding(what, {self.metric: value, "median": median})


@dataclass
class Threshold(Condition):
    """The mean of the last `rows` values of a metric is above or below a bound."""

    metric: str
    above: float = math.inf
    below: float = -math.inf
    rows: int = 1

    def needs(self) -> tuple[str, ...]:
        return (self.metric,)

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        del baselines
        recent = rows.recent(self.metric, self.rows)
        if recent is None:
            return NOT_JUDGED
        steps, _, window = recent
        out = (window.mean > self.above) | (window.mean < self.below)
        return judged(steps, (window.count == self.rows) & out, self._tell, window.mean)

    def _tell(self, step: int, mean: float) -> HealthFinding:
        high = mean > self.above
        bound = self.above if high else self.below
        what = Message(
            "{metric} is {mean:.3g} at step {step}, {side} {bound:g}",
            metric=describe(self.metric).whole,
            mean=mean,
            step=step,
            side=Message("above" if high else "below"),
            bound=bound,
        )
        return HealthFinding(what, {self.metric: mean, "bound": bound})


def _plain(value: float) -> str:
    """Rates are in the thousands: 1,404, never 1.4e+03."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


if __name__ == "__main__":
    spike = SpikeCondition("loss")
    none = Windows()
    calm = [spike.check(OneRow(step, {"loss": 3 + step % 2 / 10}, none), {}) for step in range(64)]
    last = spike.check(OneRow(64, {"loss": 9.0}, none), {})
    print(last.found[0].finding(0))
    assert not any(one.found for one in calm)
    print("=== 自测通过 ===")
