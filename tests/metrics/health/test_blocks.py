"""However a run is cut into blocks of rows, its alerts are the same."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from lmm_tui.metrics import names
from lmm_tui.metrics.health import alerts
from lmm_tui.metrics.health.alert import Alert
from lmm_tui.metrics.health.alerts import Health, examine
from lmm_tui.metrics.health.condition import Condition
from lmm_tui.metrics.health.layer_conditions import Collapse, LoudLayer, NonFinite, ZeroLayer
from lmm_tui.metrics.health.loss_conditions import FirstLoss, Overfit, TooGood, WorseThanGuessing
from lmm_tui.metrics.health.metric_conditions import (
    BelowOwnMedian,
    Risen,
    SpikeCondition,
    StuckAt,
    Threshold,
)
from lmm_tui.metrics.health.rolling import MedianWindow, Window, Windows
from lmm_tui.metrics.health.rows import OneRow
from lmm_tui.metrics.health.rules import RULES, Rule
from lmm_tui.metrics.health.verdict import verdict_of
from lmm_tui.metrics.series.series import SeriesStore

LEVELS = {"ln V": 4.0, "unigram": 3.0, "bigram": 2.0}
LOSS = names.TRAIN_LOSS
Row = dict[str, float]

SHORT: tuple[Condition, ...] = (
    NonFinite(),
    FirstLoss(above=0.5),
    TooGood(until=40),
    WorseThanGuessing(rows=3),
    StuckAt(LOSS, "ln V", 0.5, 10, window=4),
    StuckAt(LOSS, 3.0, 0.25, 10, window=4),
    SpikeCondition(LOSS, sigmas=2.0, times=1.5, window=8, least=4),
    SpikeCondition(names.GRAD_NORM, sigmas=0.5, times=1.0, window=4, least=2),
    Risen(LOSS, window=4, sigmas=0.5),
    ZeroLayer(rows=2),
    LoudLayer(times=2.0, rows=2),
    Overfit(gap=0.5, rises=1, window=4),
    Collapse(after=10),
    BelowOwnMedian(LOSS, rows=2, window=8, least=4),
    Threshold(LOSS, above=5.0, below=1.0, rows=2),
    Threshold("val/loss", above=5.0, rows=4),
)
"""Every condition, with windows so short that little data sets it off."""

RULES_OF_SHORT = [
    Rule(str(number), condition, "warning", "s", "a", calm=3)
    for number, condition in enumerate(SHORT)
]


def told(alerts: list[Alert]) -> list[str]:
    """To the last digit; as text, for NaN equals nothing."""
    return [str(alert) for alert in alerts]


def compare(rows: list[tuple[int, Row]], rules: list[Rule], cuts: list[int]) -> Health:
    """Checked in blocks, as they are cut, against row by row; returns the latter."""
    store, one_by_one, blocks = SeriesStore(), Health(rules, LEVELS), Health(rules, LEVELS)
    for end in [*cuts, len(rows)]:
        for step, row in rows[len(store) : end]:
            store.append({"step": step, **row})
        examine(store, blocks)
    for step, row in rows:
        one_by_one.observe(step, row)
    assert told(blocks.alerts) == told(one_by_one.alerts)
    assert told(blocks.open_alerts) == told(one_by_one.open_alerts)
    assert blocks.judged == one_by_one.judged and blocks.last_step == one_by_one.last_step
    for step in range(rows[-1][0] + 1, rows[-1][0] + 30):
        after: Row = {LOSS: 2.0 + step % 3, names.GRAD_NORM: 1.0 + step % 2, "grad/layers.0": 0.0}
        assert told(blocks.observe(step, after)) == told(one_by_one.observe(step, after))
    return one_by_one


WILD = st.floats(-1, 10) | st.sampled_from([math.nan, math.inf, 0.0, 1024.0, 1e200])
CALM = st.sampled_from([2.0, 2.1, 2.2])
LAYERS = [f"grad/layers.{layer}" for layer in range(4)]


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, Row]]:
    """Stretches of calm rows between wild ones, some metrics measured now and then."""
    rows: list[tuple[int, Row]] = []
    step = draw(st.integers(-3, 2))
    for _ in range(draw(st.integers(1, 6))):
        wild = draw(st.booleans())
        kind = WILD if wild else CALM
        for _ in range(draw(st.integers(1, 12 if wild else 40))):
            row: Row = {}
            if draw(st.integers(0, 9)):
                row = {LOSS: draw(kind), names.GRAD_NORM: draw(kind)}
                row |= {layer: draw(kind) if wild else 2.0 for layer in LAYERS}
            if step % 5 == 0:
                row |= {names.VAL_LOSS: draw(kind), "probe/participation_ratio": draw(kind)}
                row |= {"probe/cosine_sim_intra": draw(st.sampled_from([0.5, 1.0]))}
            if row:
                rows.append((step, row))
            step += draw(st.sampled_from([1, 1, 1, 7]))
    return rows or [(step, {LOSS: 2.0})]


@pytest.fixture(autouse=True)
def even_small_blocks_as_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "_FEW", 0)


# To shrink such a history takes minutes.
@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(rows=histories(), cuts=st.lists(st.floats(0, 1), max_size=6))
@example(
    rows=[(0, {"val/loss": 2.0}), (1, {"train/loss": math.inf, "val/loss": math.nan})], cuts=[0.5]
)
def test_any_cutting_into_blocks_gives_the_same_findings(
    rows: list[tuple[int, Row]], cuts: list[float]
) -> None:
    compare(rows, RULES_OF_SHORT, sorted(round(cut * len(rows)) for cut in cuts))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_judges_no_row_that_lacks_what_it_needs(rule: Rule) -> None:
    """Such rows are not given to it: that must not change what it finds."""
    needs = rule.condition.needs()
    everything = dict.fromkeys((*needs, LOSS, names.VAL_LOSS, names.GRAD_NORM), 3.0)
    for name in needs:
        row = {metric: value for metric, value in everything.items() if metric != name}
        for step in (1, 2000):
            assert not rule.condition.check(OneRow(step, row, Windows()), LEVELS).rows


def test_a_low_that_lies_across_the_cut_is_what_a_mean_has_risen_from() -> None:
    losses = [3.0, 2.0, 3.0, 3.0, 3.0, 3.0, 4.0, 3.0, 3.0, 2.0, 4.0, 2.0, 2.0]
    rule = Rule("risen", Risen(LOSS, window=4, sigmas=0.5), "warning", "s", "a", calm=3)
    for cut in range(1, len(losses)):
        compare([(step, {LOSS: loss}) for step, loss in enumerate(losses)], [rule], [cut])


def long_run(seed: int, steps: int = 4000) -> list[tuple[int, Row]]:
    """A run that learns, with faults of every kind strewn in."""
    rng = random.Random(seed)
    faults = {rng.randrange(steps): rng.randrange(6) for _ in range(12)}
    rows, until, fault = [], 0, -1
    for step in range(1, steps + 1):
        if step in faults:
            fault, until = faults[step], step + rng.choice([1, 5, 60, 300])
        active = step < until
        loss = 2.2 + 4.7 * math.exp(-step / 150) + rng.gauss(0, 0.05)
        norm = 1.5 * math.exp(rng.gauss(0, 0.3))
        row: Row = {LOSS: loss, names.GRAD_NORM: norm, names.TOKENS_PER_S: rng.gauss(5e3, 2e2)}
        row |= {layer: norm * math.exp(rng.gauss(0, 0.3)) for layer in LAYERS}
        if step % 50 == 0:
            row[names.VAL_LOSS] = loss + (step / 400 if active else 0.1)
        if active:
            row |= [
                {LOSS: math.nan},
                {LOSS: loss * 3},
                {names.GRAD_NORM: norm * 40},
                {names.TOKENS_PER_S: 2000.0},
                {LAYERS[1]: 0.0},
                {LAYERS[2]: norm * 90},
            ][fault]
        rows.append((step, row))
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_the_usual_rules_find_the_same_in_a_long_run_with_faults(seed: int) -> None:
    rows = long_run(seed)
    health = compare(rows, list(RULES), [1500, 1501, 3200])
    assert len({alert.rule for alert in health.alerts}) >= 3


def test_columns_are_checked_in_a_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = SpikeCondition.check, []
    monkeypatch.setattr(SpikeCondition, "check", lambda *args: (calls.append(1), real(*args))[1])
    store = SeriesStore()
    steps = np.arange(40_000)
    store.extend(steps, {LOSS: (None, 2.0 + steps % 7 / 10)})
    health = Health()
    examine(store, health)
    assert len(calls) < 10 and verdict_of(health).text == "healthy up to step 39999"


FINITE = st.floats(-1e6, 1e6)


CUTS = st.lists(st.integers(0, 60), max_size=4).map(sorted)


# A large number takes no digits of those after it.
@example(xs=[999999.0, 0.0, 1e-05], size=2, cuts=[])
@example(xs=[999999.0, 0.0, 1e-05], size=2, cuts=[1, 2])
@given(xs=st.lists(FINITE, min_size=1, max_size=60), size=st.integers(1, 9), cuts=CUTS)
def test_windows_are_the_statistics_of_the_last_numbers_however_cut(
    xs: list[float], size: int, cuts: list[int]
) -> None:
    cuts = [min(cut, len(xs)) for cut in cuts]
    window, median = Window(size), MedianWindow(size)
    means: list[float] = []
    deviations: list[float] = []
    below: list[bool] = []
    for begin, end in itertools.pairwise([0, *cuts, len(xs)]):
        if begin == end:
            continue
        part = np.array(xs[begin:end]) if end - begin > 1 else xs[begin]
        found = window.add(part)
        means += np.atleast_1d(found.mean).tolist()
        deviations += np.atleast_1d(found.deviation).tolist()
        below += np.atleast_1d(median.add_below(part, 0.5)[0]).tolist()
    for at in range(len(xs)):
        last = xs[max(at + 1 - size, 0) : at + 1]
        assert math.isclose(means[at], statistics.fmean(last), rel_tol=1e-9, abs_tol=1e-6)
        assert math.isclose(deviations[at], statistics.pstdev(last), rel_tol=1e-6, abs_tol=1e-6)
        before = xs[max(at - size, 0) : at]
        assert below[at] == bool(before and xs[at] < 0.5 * statistics.median_high(before))


def test_a_huge_number_is_forgotten_with_its_window() -> None:
    window = Window(8)
    calm = [3.0 + at % 3 / 100 for at in range(40)]
    found = window.add(np.array([*calm[:9], 1e12, *calm]))
    assert math.isclose(found.deviation[-1], statistics.pstdev(calm[-8:]), rel_tol=1e-9)
