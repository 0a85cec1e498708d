"""What can be wrong in a run, as conditions that look at one row of numbers after the other.

A condition holds its thresholds as fields and what it remembers as private attributes, O(1) a row
(O(layers) where it compares layers). It knows neither advice nor episodes, and no files.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import TypeAlias

from lmm_tui.metrics import names
from lmm_tui.metrics.health.rolling_stats import Recent, RecentMedian

Values: TypeAlias = Mapping[str, float]

_BLOCK = re.compile(re.escape(names.GRAD_LAYER) + r"layers\.\d+")


@lru_cache(maxsize=64)
def _layers_of(keys: tuple[str, ...]) -> list[str]:
    return [name for name in keys if name.startswith(names.GRAD_LAYER)]


@lru_cache(maxsize=64)
def _blocks_of(keys: tuple[str, ...]) -> tuple[list[str], Callable[[Values], tuple[float, ...]]]:
    """The blocks among the keys of a row, and what takes their values out of it."""
    blocks = [name for name in keys if is_block(name)]
    return blocks, itemgetter(*blocks) if len(blocks) > 1 else lambda row: ()


def _layers(row: Values) -> list[str]:
    return _layers_of(tuple(row))


def is_block(metric: str) -> bool:
    """Whether a metric is the gradient norm of a numbered block."""
    return _BLOCK.fullmatch(metric) is not None


@dataclass(frozen=True)
class HealthFinding:
    """What a condition found: `what` is a sentence, `where` a layer or ''."""

    what: str
    values: dict[str, float]
    where: str = ""


class Condition(ABC):
    """Looks at rows in the order of their steps."""

    @abstractmethod
    def look(self, step: int, row: Values, references: Values) -> list[HealthFinding] | None:
        """What is wrong in a row; None where the row lacks what it takes to judge.

        `references` are loss levels in nats: `ln V`, `unigram`, `bigram`.
        """

    def remember(self, step: int, row: Values, references: Values) -> None:
        """Take in a row of which it is known that nothing is wrong in it."""
        self.look(step, row, references)


@dataclass
class NonFinite(Condition):
    """A loss or gradient that is NaN or infinite."""

    def look(self, step: int, row: Values, references: Values) -> list[HealthFinding] | None:
        del step, references
        if math.isfinite(sum(row.values())):  # one pass for nearly every row there is
            return None if _MUST_BE_FINITE.isdisjoint(row) and not _layers(row) else []
        judged = {
            name: value
            for name, value in row.items()
            if name in _MUST_BE_FINITE or name.startswith(names.GRAD_LAYER)
        }
        bad = {name: value for name, value in judged.items() if not math.isfinite(value)}
        if not bad:
            return [] if judged else None
        layers = [name for name in bad if name.startswith(names.GRAD_LAYER)]
        first = layers[0].removeprefix(names.GRAD_LAYER) if layers else ""
        shown = ", ".join(f"{name} is {value}" for name, value in list(bad.items())[:3])
        return [HealthFinding(shown + (f"; first bad layer {first}" if first else ""), bad, first)]


_MUST_BE_FINITE = {names.TRAIN_LOSS, names.VAL_LOSS, names.GRAD_NORM}


@dataclass
class FirstLoss(Condition):
    """The loss of the first step is not that of a guess among V tokens."""

    above: float = math.inf
    """Nats over ln V."""
    below: float = math.inf
    """Nats under ln V."""

    def look(self, step: int, row: Values, references: Values) -> list[HealthFinding] | None:
        loss, level = row.get(names.TRAIN_LOSS), references.get("ln V")
        if step > 1 or loss is None or level is None:
            return None
        if level - self.below <= loss <= level + self.above or not math.isfinite(loss):
            return []
        what = f"the first loss is {loss:.2f}, ln V is {level:.2f}"
        return [HealthFinding(what, {names.TRAIN_LOSS: loss, "ln V": level})]


@dataclass
class TooGood(Condition):
    """A loss far below the bigram entropy of the data while the model cannot know that much."""

    share: float = 0.5
    """Of the bigram entropy."""
    until: int = 300
    """Step from which on such a loss is believed."""

    def look(self, step: int, row: Values, references: Values) -> list[HealthFinding] | None:
        loss, level = row.get(names.TRAIN_LOSS), references.get("bigram")
        if step > self.until or loss is None or level is None:
            return None
        if not loss < self.share * level:
            return []
        what = f"loss {loss:.2f} at step {step}, the data's bigram entropy is {level:.2f}"
        return [HealthFinding(what, {names.TRAIN_LOSS: loss, "bigram": level})]


@dataclass
class WorseThanGuessing(Condition):
    """The loss stays above ln V, which a guess among V tokens costs."""

    margin: float = 0.5
    """Nats over ln V."""
    rows: int = 16
    """In a row: a single bad batch is no divergence."""
    _above: int = field(default=0, init=False, repr=False)

    def look(self, step: int, row: Values, references: Values) -> list[HealthFinding] | None:
        loss, level = row.get(names.TRAIN_LOSS), references.get("ln V")
        if loss is None or level is None or not math.isfinite(loss):
            return None
        self._above = self._above + 1 if loss > level + self.margin else 0
        if self._above < self.rows:
            return []
        what = f"loss {loss:.3g} at step {step} is worse than guessing: ln V is {level:.2f}"
        return [HealthFinding(what, {names.TRAIN_LOSS: loss, "ln V": level})]


@dataclass
class StuckAt(Condition):
    """The mean of a metric stays within a margin of a level."""

    metric: str
    level: str | float
    """A number, or the name of a reference."""
    margin: float
    after: int
    """Step from which on it is judged."""
    window: int = 64

    def __post_init__(self) -> None:
        self._recent = Recent(self.window)

    def look(self, step: int, row: Values, references: Values) -> list[HealthFinding] | None:
        value = row.get(self.metric)
        level = references.get(self.level) if isinstance(self.level, str) else self.level
        if value is None or level is None or not math.isfinite(value):
            return None
        self._recent.add(value)
        if step < self.after or not self._recent.full:
            return None
        mean = self._recent.mean
        if abs(mean - level) > self.margin:
            return []
        called = f" ({self.level})" if isinstance(self.level, str) else ""
        what = f"{self.metric} is still {mean:.3g} at step {step}, at {level:.3g}{called}"
        return [HealthFinding(what, {self.metric: mean, "level": level})]


@dataclass
class SpikeCondition(Condition):
    """A value above mean + sigmas · deviation of its last `window`, and above times · mean.

    A spike is not added to the window (as in OLMo-core's spike detection).
    """

    metric: str
    sigmas: float = 6.0
    times: float = 2.0
    window: int = 128
    least: int = 32
    """Values before anything is judged."""

    def __post_init__(self) -> None:
        self._recent = Recent(self.window)

    def look(self, step: int, row: Values, references: Values) -> list[HealthFinding] | None:
        del references
        value = row.get(self.metric)
        if value is None or not math.isfinite(value):
            return None
        recent = self._recent
        if len(recent) < self.least:
            recent.add(value)
            return None
        mean = recent.mean
        if value > self.times * mean > 0 and value > mean + self.sigmas * recent.deviation:
            what = f"{self.metric} is {value:.3g} at step {step}, its mean was {mean:.3g}"
            return [
                HealthFinding(what, {self.metric: value, "mean": mean, "sigma": recent.deviation})
            ]
        recent.add(value)
        return []

    def remember(self, step: int, row: Values, references: Values) -> None:
        del step, references
        value = row.get(self.metric)
        if value is not None and math.isfinite(value):
            self._recent.add(value)


@dataclass
class Risen(Condition):
    """The mean of a window lies far above the lowest that it ever was.

    By a share of that lowest mean, and by so many deviations of single values, which noise alone
    does not bring about in a mean of 64.
    """

    metric: str
    share: float = 0.1
    sigmas: float = 1.5
    window: int = 64

    def __post_init__(self) -> None:
        self._recent = Recent(self.window)
        self.best = math.inf
        """The lowest mean so far."""

    def look(self, step: int, row: Values, references: Values) -> list[HealthFinding] | None:
        del references
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
        if mean - best <= self.sigmas * recent.deviation:
            return []
        what = f"{self.metric} has risen to {mean:.3g} at step {step}, it was {best:.3g}"
        return [HealthFinding(what, {self.metric: mean, "best": best})]


@dataclass
class ZeroLayer(Condition):
    """A layer whose gradient norm is exactly 0 for some rows in a row.

    Rows in which all layers have none are passed over: nothing was to be learnt there.
    """

    rows: int = 3
    _zeros: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    def look(self, step: int, row: Values, references: Values) -> list[HealthFinding] | None:
        del references
        layers = _layers(row)
        if not layers:
            return None
        if not self._zeros and all(row.values()):
            return []
        if not any(row[name] for name in layers):
            return None
        found = []
        for name in layers:
            if row[name]:
                self._zeros.pop(name, None)
                continue
            self._zeros[name] = self._zeros.get(name, 0) + 1
            if self._zeros[name] >= self.rows:
                where = name.removeprefix(names.GRAD_LAYER)
                what = f"the gradient of {where} is exactly 0 up to step {step}"
                found.append(HealthFinding(what, {name: 0.0}, where))
        return found


@dataclass
class LoudLayer(Condition):
    """A block whose gradient norm is many times the median of all blocks, for some rows.

    Only blocks are compared: embedding and head differ from them in a healthy model too.
    """

    times: float = 10.0
    rows: int = 3
    _loud: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    def look(self, step: int, row: Values, references: Values) -> list[HealthFinding] | None:
        del references
        blocks, values_in = _blocks_of(tuple(row))
        if len(blocks) < 3:
            return None
        values = values_in(row)
        if not self._loud and max(values) <= self.times * min(values):
            return []
        median = sorted(values)[len(values) // 2]
        found = []
        for name, value in zip(blocks, values, strict=True):
            if not value > self.times * median > 0:
                self._loud.pop(name, None)
                continue
            self._loud[name] = self._loud.get(name, 0) + 1
            if self._loud[name] >= self.rows:
                where = name.removeprefix(names.GRAD_LAYER)
                what = f"the gradient of {where} is {value / median:.0f}x the median at step {step}"
                found.append(HealthFinding(what, {name: value, "median": median}, where))
        return found


@dataclass
class Overfit(Condition):
    """Held-out loss rises while it lies far above the training loss."""

    gap: float = 0.5
    rises: int = 2
    """Validations in a row that each were worse than the one before."""
    window: int = 32

    def __post_init__(self) -> None:
        self._train = Recent(self.window)
        self._last = math.inf
        self._risen = 0

    def look(self, step: int, row: Values, references: Values) -> list[HealthFinding] | None:
        del references
        train, val = row.get(names.TRAIN_LOSS), row.get(names.VAL_LOSS)
        if train is not None and math.isfinite(train):
            self._train.add(train)
        if val is None or not math.isfinite(val) or not len(self._train):
            return None
        self._risen = self._risen + 1 if val > self._last else 0
        self._last = val
        mean = self._train.mean
        if val - mean <= self.gap or self._risen < self.rises:
            return []
        what = f"held-out loss rises to {val:.2f} at step {step}, training loss is {mean:.2f}"
        return [HealthFinding(what, {names.VAL_LOSS: val, names.TRAIN_LOSS: mean})]


@dataclass
class Collapse(Condition):
    """Hidden states that nearly share one direction."""

    ratio: float = 2.0
    cosine: float = 0.95
    after: int = 200

    def look(self, step: int, row: Values, references: Values) -> list[HealthFinding] | None:
        del references
        ratio = row.get(names.PROBE + "participation_ratio")
        cosine = row.get(names.PROBE + "cosine_sim_intra")
        if ratio is None or cosine is None or step < self.after:
            return None
        if not (ratio < self.ratio and cosine > self.cosine):
            return []
        what = f"hidden states use {ratio:.1f} directions, cosine {cosine:.2f}, at step {step}"
        return [HealthFinding(what, {"participation_ratio": ratio, "cosine_sim_intra": cosine})]


@dataclass
class BelowOwnMedian(Condition):
    """A metric below a share of its own running median, for some rows in a row."""

    metric: str
    share: float = 0.7
    rows: int = 10
    window: int = 256
    least: int = 50

    def __post_init__(self) -> None:
        self._recent = RecentMedian(self.window)
        self._low = 0

    def look(self, step: int, row: Values, references: Values) -> list[HealthFinding] | None:
        del references
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
        what = f"{self.metric} is {value:.3g} at step {step}, its median was {median:.3g}"
        return [HealthFinding(what, {self.metric: value, "median": median})]


@dataclass
class Threshold(Condition):
    """The mean of the last `rows` values of any metric is above or below a number."""

    metric: str
    above: float = math.inf
    below: float = -math.inf
    rows: int = 1

    def __post_init__(self) -> None:
        self._recent = Recent(self.rows)

    def look(self, step: int, row: Values, references: Values) -> list[HealthFinding] | None:
        del references
        value = row.get(self.metric)
        if value is None or not math.isfinite(value):
            return None
        self._recent.add(value)
        mean = self._recent.mean
        if not self._recent.full or self.below <= mean <= self.above:
            return []
        side, bound = ("above", self.above) if mean > self.above else ("below", self.below)
        what = f"{self.metric} is {mean:.3g} at step {step}, {side} {bound:g}"
        return [HealthFinding(what, {self.metric: mean, "bound": bound})]


if __name__ == "__main__":
    spike = SpikeCondition("loss")
    found = [spike.look(at, {"loss": 3 + at % 2 / 10}, {}) for at in range(64)]
    hit = spike.look(64, {"loss": 9.0}, {})
    print(hit)
    assert hit and not any(found)
    zero = ZeroLayer()
    still = [zero.look(at, {"grad/layers.1": 0.0, "grad/layers.0": 0.1}, {}) for at in range(3)]
    assert still[-1] and still[-1][0].where == "layers.1" and not still[1]
    print("=== 自测通过 ===")
