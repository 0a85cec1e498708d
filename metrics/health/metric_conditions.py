"""Conditions on any one metric: stuck at a level, a spike, a rise, a drop, a threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lmm_tui.message import Message
from lmm_tui.metrics.health.condition import Condition, HealthFinding, Values
from lmm_tui.metrics.health.rolling_stats import Recent, RecentMedian


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

    def __post_init__(self) -> None:
        self._recent = Recent(self.window)

    def check(self, step: int, row: Values, baselines: Values) -> list[HealthFinding] | None:
        value = row.get(self.metric)
        level = baselines.get(self.level) if isinstance(self.level, str) else self.level
        if value is None or level is None or not math.isfinite(value):
            return None
        self._recent.add(value)
        if step < self.after or not self._recent.full:
            return None
        mean = self._recent.mean
        if abs(mean - level) > self.margin:
            return []
        what = Message(
            "{metric} is still {mean:.3g} at step {step}, at {level:.3g} ({name})"
            if isinstance(self.level, str)
            else "{metric} is still {mean:.3g} at step {step}, at {level:.3g}",
            metric=self.metric,
            mean=mean,
            step=step,
            level=level,
            name=self.level,
        )
        return [HealthFinding(what, {self.metric: mean, "level": level})]


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
        self._recent = Recent(self.window)

    def check(self, step: int, row: Values, baselines: Values) -> list[HealthFinding] | None:
        del baselines
        value = row.get(self.metric)
        if value is None or not math.isfinite(value):
            return None
        recent = self._recent
        if len(recent) < self.least:
            recent.add(value)
            return None
        mean = recent.mean
        high = value > self.times * mean > 0 and value > mean + self.rise
        if high and value > mean + self.sigmas * recent.deviation:
            what = Message(
                "{metric} is {value:.3g} at step {step}, its mean was {mean:.3g}",
                metric=self.metric,
                value=value,
                step=step,
                mean=mean,
            )
            return [
                HealthFinding(what, {self.metric: value, "mean": mean, "sigma": recent.deviation})
            ]
        recent.add(value)
        return []

    def remember(self, step: int, row: Values, baselines: Values) -> None:
        del step, baselines
        value = row.get(self.metric)
        if value is not None and math.isfinite(value):
            self._recent.add(value)


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
        self._recent = Recent(self.window)
        self.best = math.inf
        """The lowest mean so far."""

    def check(self, step: int, row: Values, baselines: Values) -> list[HealthFinding] | None:
        del baselines
        value = row.get(self.metric)
        if value is None or not math.isfinite(value):
            return None
        recent = self._recent
        recent.add(value)
        if not recent.full:
            return None
        mean = recent.mean
        self.best = best = min(mean, self.best)
        if not mean > (1 + self.share) * best > 0:
            return []
        if mean - best <= max(self.sigmas * recent.deviation, self.rise):
            return []
        what = Message(
            "{metric} has risen to {mean:.3g} at step {step}, it was {best:.3g}",
            metric=self.metric,
            mean=mean,
            step=step,
            best=best,
        )
        return [HealthFinding(what, {self.metric: mean, "best": best})]


@dataclass
class BelowOwnMedian(Condition):
    """A metric below a share of its own running median, for `rows` rows in succession."""

    metric: str
    share: float = 0.7
    rows: int = 10
    window: int = 256
    least: int = 50

    def __post_init__(self) -> None:
        self._recent = RecentMedian(self.window)
        self._low = 0

    def check(self, step: int, row: Values, baselines: Values) -> list[HealthFinding] | None:
        del baselines
        value = row.get(self.metric)
        if value is None or not math.isfinite(value):
            return None
        median = self._recent.median
        self._recent.add(value)
        if len(self._recent) <= self.least:
            return None
        self._low = self._low + 1 if value < self.share * median else 0
        if self._low < self.rows:
            return []
        what = Message(
            "{metric} is {value:.3g} at step {step}, its median was {median:.3g}",
            metric=self.metric,
            value=value,
            step=step,
            median=median,
        )
        return [HealthFinding(what, {self.metric: value, "median": median})]


@dataclass
class Threshold(Condition):
    """The mean of the last `rows` values of a metric is above or below a bound."""

    metric: str
    above: float = math.inf
    below: float = -math.inf
    rows: int = 1

    def __post_init__(self) -> None:
        self._recent = Recent(self.rows)

    def check(self, step: int, row: Values, baselines: Values) -> list[HealthFinding] | None:
        del baselines
        value = row.get(self.metric)
        if value is None or not math.isfinite(value):
            return None
        self._recent.add(value)
        mean = self._recent.mean
        if not self._recent.full or self.below <= mean <= self.above:
            return []
        high = mean > self.above
        side = Message("above" if high else "below")
        bound = self.above if high else self.below
        what = Message(
            "{metric} is {mean:.3g} at step {step}, {side} {bound:g}",
            metric=self.metric,
            mean=mean,
            step=step,
            side=side,
            bound=bound,
        )
        return [HealthFinding(what, {self.metric: mean, "bound": bound})]


if __name__ == "__main__":
    spike = SpikeCondition("loss")
    calm = [spike.check(step, {"loss": 3 + step % 2 / 10}, {}) for step in range(64)]
    findings = spike.check(64, {"loss": 9.0}, {})
    print(findings)
    assert findings and not any(calm)
    print("=== 自测通过 ===")
