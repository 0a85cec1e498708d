"""Each fault raises its alert, once an episode, with its suspect; healthy rows raise none."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm_tui.metrics import names
from lmm_tui.metrics.health.alert import Alert
from lmm_tui.metrics.health.alerts import Health, examine
from lmm_tui.metrics.health.metric_conditions import Threshold
from lmm_tui.metrics.health.rules import RULES, Rule
from lmm_tui.metrics.health.rules_file import HealthConfigError, load_rules
from lmm_tui.metrics.health.verdict import verdict_of
from lmm_tui.metrics.series.series import SeriesStore

LEVELS = {"ln V": 6.93, "unigram": 5.5, "bigram": 3.1}
Row = dict[str, float]
Rows = Iterable[tuple[int, Row]]


def healthy(steps: int = 1500, seed: int = 0) -> list[tuple[int, Row]]:
    """A noisy run that learns; every gradient is clipped, as is usual under Adam."""
    rng = random.Random(seed)
    rows = []
    for step in range(1, steps + 1):
        loss = 2.2 + 4.73 * math.exp(-step / 150) + rng.gauss(0, 0.05)
        row = {
            names.TRAIN_LOSS: loss,
            names.GRAD_NORM: 1.5 * math.exp(rng.gauss(0, 0.15)),
            names.CLIP_RATE: 1.0,
            names.TOKENS_PER_S: rng.gauss(5000, 200),
        }
        if step % 10 == 0:
            row |= {f"grad/layers.{at}": 0.3 * math.exp(rng.gauss(0, 0.3)) for at in range(6)}
            row |= {"grad/embed": 2.0, names.PROBE + "participation_ratio": 9.0}
            row |= {names.PROBE + "cosine_sim_intra": 0.4}
        if step % 100 == 0:
            row[names.VAL_LOSS] = loss + 0.1
        rows.append((step, row))
    return rows


def alerts_of(rows: Rows, baselines: Row | None = LEVELS) -> list[Alert]:
    health = Health(baselines=baselines)
    for step, row in rows:
        health.observe(step, row)
    return health.alerts


def changed(change: Callable[[int, Row], Row]) -> list[tuple[int, Row]]:
    return [(step, row | change(step, row)) for step, row in healthy()]


FAULTS: dict[str, tuple[Callable[[int, Row], Row], int]] = {
    "non_finite": (lambda s, _: {names.TRAIN_LOSS: math.nan} if s >= 700 else {}, 700),
    "first_loss_high": (lambda s, _: {names.TRAIN_LOSS: 9.0} if s == 1 else {}, 1),
    "first_loss_low": (lambda s, _: {names.TRAIN_LOSS: 5.0} if s == 1 else {}, 1),
    "diverged": (lambda s, _: {names.TRAIN_LOSS: 8.0} if s >= 700 else {}, 715),
    "too_good": (lambda s, r: {names.TRAIN_LOSS: r[names.TRAIN_LOSS] * 0.5}, 0),
    "stuck_at_uniform": (lambda s, _: {names.TRAIN_LOSS: 6.93 + s % 2 / 50}, 200),
    "stuck_at_unigram": (
        lambda s, r: {names.TRAIN_LOSS: max(r[names.TRAIN_LOSS], 5.5)},
        1000,
    ),
    "loss_spike": (lambda s, _: {names.TRAIN_LOSS: 9.0} if s == 800 else {}, 800),
    "grad_spike": (lambda s, _: {names.GRAD_NORM: 60.0} if s == 800 else {}, 800),
    "loss_risen": (lambda s, r: {names.TRAIN_LOSS: r[names.TRAIN_LOSS] + (s > 900)}, 0),
    "layer_zero": (
        lambda s, r: {"grad/layers.2": 0.0} if "grad/embed" in r and s >= 500 else {},
        520,
    ),
    "layer_loud": (
        lambda s, r: {"grad/layers.4": 40.0} if "grad/embed" in r and s >= 500 else {},
        520,
    ),
    "overfit": (
        lambda s, r: {names.VAL_LOSS: 2.0 + s / 400} if names.VAL_LOSS in r else {},
        300,
    ),
    "near_zero": (lambda s, _: {names.TRAIN_LOSS: 0.004 + s % 2 / 1000} if s >= 700 else {}, 763),
    "collapse": (
        lambda s, r: (
            {names.PROBE + "participation_ratio": 1.2, names.PROBE + "cosine_sim_intra": 0.99}
            if "grad/embed" in r and s >= 600
            else {}
        ),
        600,
    ),
    "slow": (lambda s, _: {names.TOKENS_PER_S: 2000.0} if s >= 900 else {}, 909),
    "flat_groups": (lambda s, _: {"grpo/flat_groups": 0.95}, 8),
    "slow_rank": (
        lambda s, _: {
            names.SLOWEST_RANK: 5.0,
            names.SLOWEST_RANK_TIMES: 1.4,
            names.SLOWEST_RANK_MS: 90.0 if s >= 900 else 15.0,
        },
        900,
    ),
    "ranks_differ": (lambda s, _: {names.RANKS_DIFFERING: float(s >= 900)}, 900),
    "uneven_memory": (lambda s, _: {names.RANKS_MEMORY_SPREAD: 0.3}, 8),
    "throttled": (lambda s, _: {names.RANKS_THROTTLED: 1.0}, 20),
    "dpo_stuck": (lambda s, _: {"dpo/accuracy": 0.5 + s % 2 / 50}, 200),
}


def test_every_rule_has_a_fault_here() -> None:
    assert set(FAULTS) == {rule.name for rule in RULES}


@pytest.mark.parametrize("rule", FAULTS)
def test_a_fault_raises_its_alert_once(rule: str) -> None:
    change, step = FAULTS[rule]
    found = [alert for alert in alerts_of(changed(change)) if alert.rule == rule]
    assert len(found) == 1
    assert found[0].step == step or (
        rule in ("too_good", "overfit", "loss_risen") and found[0].step > 1
    )
    assert found[0].suspect and found[0].advice and found[0].values


@pytest.mark.parametrize(
    "rule", ["loss_spike", "loss_risen", "grad_spike", "layer_zero", "slow", "collapse"]
)
def test_a_fault_raises_no_other_alert(rule: str) -> None:
    assert {alert.rule for alert in alerts_of(changed(FAULTS[rule][0]))} == {rule}


@pytest.mark.parametrize("seed", range(10))
def test_healthy_runs_raise_nothing_though_every_step_is_clipped(seed: int) -> None:
    health = Health(baselines=LEVELS)
    for step, row in healthy(seed=seed):
        assert not health.observe(step, row)
    assert verdict_of(health).text == "healthy up to step 1500"


def test_an_alert_names_the_layer() -> None:
    change, _ = FAULTS["layer_zero"]
    assert [alert.where for alert in alerts_of(changed(change))] == ["layers.2"]


@pytest.mark.parametrize("fault", ["layer_zero", "layer_loud"])
def test_blocks_that_a_model_calls_otherwise_are_compared_too(fault: str) -> None:
    """GPT-2's are h.0, h.1, …"""
    rows = [
        (step, {name.replace("/layers.", "/h."): value for name, value in row.items()})
        for step, row in changed(FAULTS[fault][0])
    ]
    assert [(alert.rule, alert.where[:2]) for alert in alerts_of(rows)] == [(fault, "h.")]
    row = {names.TRAIN_LOSS: 2.0, "grad/layers.0": 1.0, "grad/layers.1": math.inf}
    assert alerts_of([(1, row)], {})[0].where == "layers.1"


def test_a_second_episode_needs_calm_in_between() -> None:
    health = Health([Rule("hot", Threshold("t", above=1.0), "error", "sun", "shade", calm=5)])
    hot = [1, 0, 0, 1, 0, 0, 0, 0, 1]
    for step, value in enumerate(hot):
        health.observe(step, {"t": 2.0 * value})
    assert [alert.step for alert in health.alerts] == [0]
    for step in range(9, 14):
        health.observe(step, {"t": 0.0})
        health.observe(step, {"other": 1.0})
    assert verdict_of(health).text.startswith("healthy now, 1 alert before")
    assert health.observe(20, {"t": 3.0}) and "likely cause: sun" in verdict_of(health).text


def test_rows_without_a_metric_calm_nothing() -> None:
    health = Health([Rule("hot", Threshold("t", above=1.0), "error", "sun", "shade", calm=2)])
    health.observe(0, {"t": 9.0})
    for step in range(1, 50):
        health.observe(step, {"other": 1.0})
    assert health.open_alerts


def test_two_runs_do_not_share_what_a_rule_remembers() -> None:
    first, second = Health(), Health()
    for step, row in healthy(200):
        first.observe(step, row)
    assert not second.observe(1, {names.TRAIN_LOSS: 99.0})


def test_a_store_is_examined_as_its_rows_are() -> None:
    change, step = FAULTS["grad_spike"]
    store = SeriesStore()
    for at, row in changed(change):
        store.append({"step": at, **row})
    health = Health(baselines=LEVELS)
    examine(store, health)
    assert [(alert.rule, alert.step) for alert in health.alerts] == [("grad_spike", step)]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 400),
            st.dictionaries(
                st.sampled_from(
                    [names.TRAIN_LOSS, names.VAL_LOSS, names.GRAD_NORM, names.TOKENS_PER_S]
                    + [f"grad/layers.{at}" for at in range(4)]
                ),
                st.floats() | st.just(0.0),
            ),
        ),
        max_size=80,
    )
)
def test_no_numbers_whatever_bring_health_down(rows: list[tuple[int, Row]]) -> None:
    health = Health(baselines=LEVELS)
    for step, row in rows:
        health.observe(step, row)
    assert verdict_of(health).text and all(alert.record() for alert in health.alerts)


def rules_of(folder: Path, text: str) -> dict[str, Rule]:
    file = folder / "health.toml"
    file.write_text(text, encoding="utf-8")
    return {rule.name: rule for rule in load_rules(file)}


def test_toml_switches_tunes_and_adds_rules(tmp_path: Path) -> None:
    rules = rules_of(
        tmp_path,
        "[rules.slow]\nenabled = false\n[rules.loss_spike]\nsigmas = 3\nadvice = 'breathe'\n"
        "[thresholds.hot]\nmetric = 'mine/heat'\nabove = 85\nrows = 2\nseverity = 'error'\n",
    )
    assert "slow" not in rules and rules["loss_spike"].advice == "breathe"
    health = Health(rules.values())
    assert not health.observe(1, {"mine/heat": 90.0})
    assert [alert.rule for alert in health.observe(2, {"mine/heat": 90.0})] == ["hot"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[rules.sloww]\n", "rules.sloww"),
        ("[rules.slow]\nshair = 1\n", "rules.slow.shair"),
        ("[rules.slow]\nrows = 0\n", "rules.slow.rows"),
        ("[rules.slow]\nrows = 1.5\n", "rules.slow.rows"),
        ("[rules.slow]\nenabled = 1\n", "rules.slow.enabled"),
        ("[rules.slow]\nshare = nan\n", "rules.slow.share"),
        ("[rules.slow]\nseverity = 'loud'\n", "rules.slow.severity"),
        ("[rules]\nslow = 1\n", "rules.slow"),
        ("rules = 1\n", "rules"),
        ("[thresholds.hot]\nmetric = 'x'\n", "thresholds.hot"),
        ("[thresholds.slow]\nmetric = 'x'\nabove = 1\n", "thresholds.slow"),
        ("[rule.slow]\n", "rule"),
        ("[[", "not TOML"),
    ],
)
def test_a_wrong_file_of_rules_is_refused_in_one_sentence(
    tmp_path: Path, text: str, named: str
) -> None:
    with pytest.raises(HealthConfigError) as refusal:
        rules_of(tmp_path, text)
    assert "health.toml" in str(refusal.value) and named in str(refusal.value)
    assert "\n" not in str(refusal.value)
