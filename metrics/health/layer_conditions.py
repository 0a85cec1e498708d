"""Conditions on gradients and hidden states: NaN, a layer without gradient or with a far too large
one, collapsed representations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_
from typing import Any

import numpy as np

from lmm_tui.message import Message
from lmm_tui.metrics import names
from lmm_tui.metrics.health.condition import (
    CALM,
    NOT_JUDGED,
    Baselines,
    Condition,
    FoundRows,
    HealthFinding,
    Judged,
    among_rows,
    every,
    found_in,
    judged,
    some,
    together,
)
from lmm_tui.metrics.health.rolling import Column, Mask, Streak, Windows
from lmm_tui.metrics.health.rows import HealthRows, OneRow, Steps
from lmm_tui.metrics.series.growing_array import union

MUST_BE_FINITE = (names.TRAIN_LOSS, names.VAL_LOSS, names.GRAD_NORM)
_MOST_SHOWN = 3
_FEWEST = 3
"""Blocks of which one can be called loud."""


@dataclass
class NonFinite(Condition):
    """A loss or gradient that is NaN or infinite."""

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        del baselines
        if rows.all_finite and rows.layers:
            return CALM
        # In one order, not in that in which a run came to measure them.
        read = [name for name in MUST_BE_FINITE if name in rows.metrics] + [*rows.layers]
        if rows.all_finite:
            return CALM if read else NOT_JUDGED
        columns = {name: np.atleast_1d(*column) for name in read if (column := rows.column(name))}
        if not columns:
            return NOT_JUDGED
        steps = union([at for at, _ in columns.values()])
        bad = {
            name: (at[wrong], values[wrong])
            for name, (at, values) in columns.items()
            if (wrong := ~np.isfinite(values)).any()
        }
        return Judged(len(steps), _by_first_layer(steps, bad) if bad else [])


def _by_first_layer(all_steps: Any, bad: dict[str, tuple[Any, Any]]) -> list[FoundRows]:
    """Of columns of numbers that aren't finite: the steps of each first bad layer."""
    steps = union([at for at, _ in bad.values()])
    first = np.full(len(steps), "", object)
    for name in reversed([name for name in bad if name.startswith(names.GRAD_LAYER)]):
        first[np.isin(steps, bad[name][0])] = name.removeprefix(names.GRAD_LAYER)

    def told(layer: str, step: int) -> HealthFinding:
        values = {
            name: float(values[at == step][0]) for name, (at, values) in bad.items() if step in at
        }
        shown = [
            Message("{name} is {value}", name=name, value=value)
            for name, value in [*values.items()][:_MOST_SHOWN]
        ]
        what = Message(
            "{shown}; first bad layer {first}" if layer else "{shown}", shown=shown, first=layer
        )
        return HealthFinding(what, values)

    return [
        found_in(all_steps, np.isin(all_steps, steps[first == layer]), partial(told, layer),
                 where=layer)
        for layer in dict.fromkeys(first)
    ]  # fmt: skip


class _LayerStreaks:
    """In how many rows in succession something has held, of each layer."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.open: dict[str, Streak] = {}
        """Of the layers of which it held in the last row."""

    def add(self, layer: str, held: Mask) -> Mask:
        """Whether it has held in enough rows."""
        if layer not in self.open and not some(held):
            return False
        streak = self.open.setdefault(layer, Streak())
        enough = streak.add(held) >= self._rows
        if not streak.length:
            del self.open[layer]
        return enough


@dataclass
class ZeroLayer(Condition):
    """A layer whose gradient norm is exactly 0 for `rows` rows in succession.

    Rows in which every layer is 0 are skipped: such a batch had nothing to learn.
    """

    rows: int = 3

    def __post_init__(self) -> None:
        self._zeros = _LayerStreaks(self.rows)

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        del baselines
        return together([self._stretch(*stretch) for stretch in rows.aligned(rows.layers)])

    def _stretch(self, steps: Steps, layers: dict[str, Column]) -> Judged:
        if not self._zeros.open and not _any_zero(steps, layers):
            return _calm(steps)
        learnt = reduce(or_, (column != 0 for column in layers.values()))
        if not some(learnt):
            return NOT_JUDGED
        steps = among_rows(learnt, steps)
        found = []
        for name, column in layers.items():
            hits = self._zeros.add(name, among_rows(learnt, column) == 0)
            if some(hits):
                where = name.removeprefix(names.GRAD_LAYER)
                found.append(found_in(steps, hits, partial(self._tell, where), where=where))
        return Judged(np.size(steps), found)

    def _tell(self, layer: str, step: int) -> HealthFinding:
        what = Message(
            "the gradient of {where} is exactly 0 up to step {step}", where=layer, step=step
        )
        return HealthFinding(what, {names.GRAD_LAYER + layer: 0.0})


@dataclass
class LoudLayer(Condition):
    """A block whose gradient norm exceeds `times` the median of all blocks, `rows` in succession.

    Only blocks are compared: embedding and head differ from them in a healthy model too.
    """

    times: float = 10.0
    rows: int = 3

    def __post_init__(self) -> None:
        self._loud = _LayerStreaks(self.rows)

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        del baselines
        if len(rows.blocks) < _FEWEST:
            return NOT_JUDGED
        return together([self._stretch(*stretch) for stretch in rows.aligned(rows.blocks)])

    def _stretch(self, steps: Steps, blocks: dict[str, Column]) -> Judged:
        if len(blocks) < _FEWEST:
            return NOT_JUDGED
        lowest, highest = _extremes(steps, blocks)
        # The median is no lower than the lowest: where the extremes are near, none is loud.
        near = highest <= self.times * lowest
        if not self._loud.open and every(near):
            return _calm(steps)
        median = _median([*blocks.values()], near)
        found = []
        for name, column in blocks.items():
            hits = self._loud.add(name, (column > self.times * median) & (median > 0))
            if some(hits):
                where = name.removeprefix(names.GRAD_LAYER)
                found.append(
                    found_in(steps, hits, partial(self._tell, where), column, median, where=where)
                )
        return Judged(np.size(steps), found)

    def _tell(self, layer: str, step: int, value: float, median: float) -> HealthFinding:
        what = Message(
            "the gradient of {where} is {value:.0f}x the median at step {step}",
            where=layer,
            value=value / median,
            step=step,
        )
        return HealthFinding(what, {names.GRAD_LAYER + layer: value, "median": median})


def _calm(steps: Steps) -> Judged:
    return Judged(len(steps), []) if isinstance(steps, np.ndarray) else CALM


def _any_zero(steps: Steps, layers: dict[str, Column]) -> bool:
    if isinstance(steps, np.ndarray):
        return not all(column.all() for column in layers.values())
    return not all(layers.values())


def _extremes(steps: Steps, layers: dict[str, Column]) -> tuple[Column, Column]:
    """The lowest and the highest at each row; either may be NaN if any is."""
    columns = layers.values()
    if isinstance(steps, np.ndarray):
        return reduce(np.minimum, columns), reduce(np.maximum, columns)
    return min(columns), max(columns)


def _median(columns: list[Column], unwanted: Mask) -> Column:
    """The upper one of two in the middle, NaN being the highest; NaN where it is not wanted."""
    middle = len(columns) // 2
    if not isinstance(unwanted, np.ndarray):
        return math.nan if unwanted else sorted(columns, key=_nan_last)[middle]
    median = np.full(len(unwanted), math.nan)
    median[~unwanted] = np.sort([column[~unwanted] for column in columns], axis=0)[middle]
    return median


def _nan_last(number: float) -> tuple[bool, float]:
    return math.isnan(number), number


@dataclass
class Collapse(Condition):
    """Hidden states that nearly all point in one direction."""

    ratio: float = 2.0
    cosine: float = 0.95
    after: int = 200

    def needs(self) -> tuple[str, ...]:
        return _OF_COLLAPSE

    def check(self, rows: HealthRows, baselines: Baselines) -> Judged:
        del baselines
        return together([self._stretch(*stretch) for stretch in rows.aligned(_OF_COLLAPSE)])

    def _stretch(self, steps: Steps, probes: dict[str, Column]) -> Judged:
        if len(probes) < len(_OF_COLLAPSE):
            return NOT_JUDGED
        ratio, cosine = (probes[name] for name in _OF_COLLAPSE)
        hits = (ratio < self.ratio) & (cosine > self.cosine)
        return judged(steps, hits, self._tell, ratio, cosine, among=steps >= self.after)

    def _tell(self, step: int, ratio: float, cosine: float) -> HealthFinding:
        what = Message(
            "hidden states use {ratio:.1f} directions, cosine {cosine:.2f}, at step {step}",
            ratio=ratio,
            cosine=cosine,
            step=step,
        )
        return HealthFinding(what, {"participation_ratio": ratio, "cosine_sim_intra": cosine})


_OF_COLLAPSE = (names.PROBE + "participation_ratio", names.PROBE + "cosine_sim_intra")


if __name__ == "__main__":
    zero = ZeroLayer(rows=2)
    row = {"grad/layers.0": 0.1, "grad/layers.1": 0.0}
    first, second = (zero.check(OneRow(step, row, Windows()), {}) for step in (1, 2))
    print(second.found[0].finding(0))
    assert not first.found and second.found[0].where == "layers.1"
    print("=== 自测通过 ===")
