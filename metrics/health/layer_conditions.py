"""Conditions on gradients and hidden states: NaN, a layer without gradient or with a far too large
one, collapsed representations."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter

from lmm_tui.message import Message
from lmm_tui.metrics import names
from lmm_tui.metrics.health.condition import Condition, HealthFinding, Values

MUST_BE_FINITE = (names.TRAIN_LOSS, names.VAL_LOSS, names.GRAD_NORM)
_BLOCK = re.compile(re.escape(names.GRAD_LAYER) + r"layers\.\d+")


# Rows of a run have a few different sets of keys; each set is parsed once.
@lru_cache(maxsize=64)
def _layers_of(keys: tuple[str, ...]) -> list[str]:
    return [name for name in keys if name.startswith(names.GRAD_LAYER)]


@lru_cache(maxsize=64)
def _blocks_of(keys: tuple[str, ...]) -> tuple[list[str], Callable[[Values], tuple[float, ...]]]:
    """The blocks among the keys of a row, and a getter of their values."""
    blocks = [name for name in keys if is_block(name)]
    return blocks, itemgetter(*blocks) if len(blocks) > 1 else lambda row: ()


def _layers(row: Values) -> list[str]:
    return _layers_of(tuple(row))


def is_block(metric: str) -> bool:
    """Whether a metric is the gradient norm of a numbered block."""
    return _BLOCK.fullmatch(metric) is not None


@dataclass
class NonFinite(Condition):
    """A loss or gradient that is NaN or infinite."""

    def check(self, step: int, row: Values, baselines: Values) -> list[HealthFinding] | None:
        del step, baselines
        # A sum is finite only if every term is: one pass settles nearly every row.
        if math.isfinite(sum(row.values())):
            return None if row.keys().isdisjoint(MUST_BE_FINITE) and not _layers(row) else []
        judged = {
            name: value
            for name, value in row.items()
            if name in MUST_BE_FINITE or name.startswith(names.GRAD_LAYER)
        }
        bad = {name: value for name, value in judged.items() if not math.isfinite(value)}
        if not bad:
            return [] if judged else None
        layers = [name for name in bad if name.startswith(names.GRAD_LAYER)]
        first = layers[0].removeprefix(names.GRAD_LAYER) if layers else ""
        shown = [
            Message("{name} is {value}", name=name, value=value)
            for name, value in list(bad.items())[:3]
        ]
        what = Message(
            "{shown}; first bad layer {first}" if first else "{shown}", shown=shown, first=first
        )
        return [HealthFinding(what, bad, first)]


@dataclass
class ZeroLayer(Condition):
    """A layer whose gradient norm is exactly 0 for `rows` rows in succession.

    Rows in which every layer is 0 are skipped: such a batch had nothing to learn.
    """

    rows: int = 3
    _zeros: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    def check(self, step: int, row: Values, baselines: Values) -> list[HealthFinding] | None:
        del baselines
        layers = _layers(row)
        if not layers:
            return None
        if not self._zeros and all(row.values()):  # The usual row, in one pass.
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
                what = Message(
                    "the gradient of {where} is exactly 0 up to step {step}", where=where, step=step
                )
                found.append(HealthFinding(what, {name: 0.0}, where))
        return found


@dataclass
class LoudLayer(Condition):
    """A block whose gradient norm exceeds `times` the median of all blocks, `rows` in succession.

    Only blocks are compared: embedding and head differ from them in a healthy model too.
    """

    times: float = 10.0
    rows: int = 3
    _loud: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    def check(self, step: int, row: Values, baselines: Values) -> list[HealthFinding] | None:
        del baselines
        blocks, values_in = _blocks_of(tuple(row))
        if len(blocks) < 3:
            return None
        values = values_in(row)
        # The median is at least the minimum: no value can exceed `times` median. No sort needed.
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
                what = Message(
                    "the gradient of {where} is {value:.0f}x the median at step {step}",
                    where=where,
                    value=value / median,
                    step=step,
                )
                found.append(HealthFinding(what, {name: value, "median": median}, where))
        return found


@dataclass
class Collapse(Condition):
    """Hidden states that nearly all point in one direction."""

    ratio: float = 2.0
    cosine: float = 0.95
    after: int = 200

    def check(self, step: int, row: Values, baselines: Values) -> list[HealthFinding] | None:
        del baselines
        ratio = row.get(names.PROBE + "participation_ratio")
        cosine = row.get(names.PROBE + "cosine_sim_intra")
        if ratio is None or cosine is None or step < self.after:
            return None
        if not (ratio < self.ratio and cosine > self.cosine):
            return []
        what = Message(
            "hidden states use {ratio:.1f} directions, cosine {cosine:.2f}, at step {step}",
            ratio=ratio,
            cosine=cosine,
            step=step,
        )
        return [HealthFinding(what, {"participation_ratio": ratio, "cosine_sim_intra": cosine})]


if __name__ == "__main__":
    zero = ZeroLayer(rows=2)
    row = {"grad/layers.0": 0.1, "grad/layers.1": 0.0}
    findings = [zero.check(step, row, {}) for step in (1, 2)]
    print(findings[-1])
    assert not findings[0] and findings[1] and findings[1][0].where == "layers.1"
    print("=== 自测通过 ===")
