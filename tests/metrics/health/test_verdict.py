"""The verdict on a run: causes before what they bring, and nothing that was not judged."""

from __future__ import annotations

import math

from lmm_tui.metrics import names
from lmm_tui.metrics.health.alerts import Health, examine
from lmm_tui.metrics.health.rules import RULES, in_our_trainer
from lmm_tui.metrics.health.verdict import Verdict, verdict_of, with_end
from lmm_tui.metrics.series.series import SeriesStore

LEVELS = {"ln V": 6.93, "bigram": 3.1}
Row = dict[str, float]


def judged(rows: list[Row], baselines: Row | None = None) -> Health:
    health = Health(baselines=baselines)
    for step, row in enumerate(rows, start=1):
        health.observe(step, row)
    return health


def diverging(steps: int = 300) -> list[Row]:
    """The loss falls, then grows far beyond a uniform guess; validation grows with it."""
    rows: list[Row] = []
    for step in range(1, steps + 1):
        loss = 6.9 - step / 30 if step < 80 else 39.3 + math.sin(step)
        norm = 1.0 + math.sin(step) / 10 if step < 80 else 90.0
        rows.append({names.TRAIN_LOSS: loss, names.GRAD_NORM: norm})
        if step % 20 == 0:
            rows[-1][names.VAL_LOSS] = loss + step / 100
    return rows


def test_a_diverged_run_is_an_error_with_its_consequences_under_it() -> None:
    verdict = verdict_of(judged(diverging(), LEVELS))
    assert (verdict.level, verdict.headline) == ("error", "diverged")
    assert verdict.step is not None and 80 < verdict.step <= 100
    (found,) = verdict.findings
    assert found.alert.rule == "diverged"
    assert "loss_risen" in {alert.rule for alert in found.consequences}


def test_sound_weights_are_those_from_before_the_loss_was_bad() -> None:
    health = judged(diverging(), LEVELS)
    assert verdict_of(health).sound_before == 79  # The loss of step 80 is that of its weights.
    # Without the baselines it has only risen.
    [found] = [
        it for it in verdict_of(judged(diverging())).findings if it.alert.rule == "loss_risen"
    ]
    assert found.alert.values["window_start"] == found.alert.step - 63
    assert found.sound_before < 80
    assert verdict_of(judged(diverging(70), LEVELS)).sound_before is None


def test_overfitting_is_no_advice_for_a_diverged_run() -> None:
    for baselines in (LEVELS, None):
        assert "overfit" not in {alert.rule for alert in judged(diverging(), baselines).alerts}


def test_overfitting_is_seen_where_losses_are_small() -> None:
    # Whisper: validation .32 to .42 at every 1,000 steps, training down to .0002.
    rows: list[Row] = []
    for at in range(200):
        rows.append({names.TRAIN_LOSS: 0.3 * 0.93**at + 0.0002})
        if at % 40 == 39:
            rows[-1][names.VAL_LOSS] = 0.32 + at / 2000
    assert "overfit" in {alert.rule for alert in judged(rows).alerts}
    close = [row | ({names.VAL_LOSS: 0.35 + i / 1e5} if i % 40 == 39 else {})
             for i, row in enumerate({names.TRAIN_LOSS: 0.3} for _ in range(200))]  # fmt: skip
    assert judged(close).alerts == []


def test_noise_of_a_thousandth_of_a_nat_is_no_spike_but_such_a_loss_is_noticed() -> None:
    rows: list[Row] = [{names.TRAIN_LOSS: 0.0005 + at % 5 / 20_000} for at in range(199)]
    health = judged([*rows, {names.TRAIN_LOSS: 0.0017}, *rows[:5]])
    assert [alert.rule for alert in health.alerts] == ["near_zero"]
    verdict = verdict_of(health)
    assert verdict.level == "notice" and "memorised" in verdict.text


def test_a_loss_of_zero_is_no_finding_where_rewards_are_logged() -> None:
    rows = [{names.TRAIN_LOSS: 1e-9 * (at % 3), names.REWARD: 0.3} for at in range(200)]
    assert judged(rows).alerts == []


def test_without_a_loss_nothing_is_called_healthy() -> None:
    for metrics in ({"foo": 1.0, "bar": 2.0}, {names.TOKENS_PER_S: 5.0}):
        verdict = verdict_of(judged([metrics] * 60))
        assert verdict.level == "unknown" and "nothing could be judged" in verdict.text
        assert all(name in verdict.text for name in metrics)
        store = SeriesStore()
        for step in range(1, 700):
            store.append({"step": step, **metrics})
        health = Health()
        examine(store, health)
        assert verdict_of(health).text == verdict.text


def test_a_crash_is_the_first_finding() -> None:
    calm = judged([{names.TRAIN_LOSS: 3.0}] * 40)
    verdict = with_end(verdict_of(calm), "crashed", "", 200)
    assert (verdict.level, verdict.headline, verdict.step) == ("error", "crashed", 200)
    failed = with_end(verdict_of(judged(diverging(), LEVELS)), "failed", "disk full", 300)
    assert "disk full" in failed.text
    assert [found.alert.rule for found in failed.findings] == ["failed", "diverged"]
    assert with_end(verdict_of(calm), "finished", "", 200) == verdict_of(calm)


def test_a_record_is_read_back_and_rubbish_is_not() -> None:
    verdict = verdict_of(judged(diverging(), LEVELS))
    again = Verdict.from_record(verdict.record())
    assert again is not None and again.record() == verdict.record()
    for rubbish in ({}, {"level": "fine", "headline": "x", "text": "y"}, {"level": 3}):
        assert Verdict.from_record(rubbish) is None


def test_our_own_loop_is_not_suspected_of_what_it_cannot_do() -> None:
    ours = {rule.name: rule for rule in in_our_trainer()}
    assert ours.keys() == {rule.name for rule in RULES}
    said = " ".join(rule.suspect + rule.advice for rule in ours.values())
    for impossible in ("causal leak", "shifted", "mask", "pads", "detach"):
        assert impossible not in said
    assert ours["too_good"].severity == "warning" and "repeats itself" in ours["too_good"].suspect


def test_a_long_log_is_scanned_for_a_loss_near_zero_as_row_by_row() -> None:
    for rewards in (range(0), range(1, 2001), range(900, 2001, 3)):
        store = SeriesStore()
        rows: list[Row] = []
        for step in range(1, 2001):
            rows.append({names.TRAIN_LOSS: 2.0 if step < 700 else 0.001 + step % 7 / 1e5})
            if step in rewards:
                rows[-1][names.REWARD] = 0.5
            store.append({"step": step, **rows[-1]})
        scanned = Health()
        examine(store, scanned)
        one_by_one = judged(rows)
        assert [(it.step, it.rule) for it in scanned.alerts] == [
            (it.step, it.rule) for it in one_by_one.alerts
        ]
        assert bool(one_by_one.alerts) == (len(rewards) != 2000)
