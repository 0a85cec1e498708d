"""What the header offers next, and with what consequence."""

import pytest

from lmm_tui.engine.run.reader import LOG_FILE, RunView
from lmm_tui.engine.run.run_records import RunInfo, RunStatus
from lmm_tui.engine.run.setting_changes import SettingChange, SettingHistory
from lmm_tui.metrics.health.alerts import Health
from lmm_tui.metrics.health.verdict import verdict_of
from lmm_tui.runs.next_steps import cure_of, next_steps

INFO = RunInfo("demo", "pretrain", 0, 0, "box", 7, 0.0)


def view(state: str, step: int = 200, log_format: str = "") -> RunView:
    return RunView(INFO, RunStatus(state, step, 300), state, log_format)


def diverged(at: int):
    health = Health(baselines={"ln V": 6.9})
    for step in range(1, at + 60):
        health.observe(step, {"train/loss": 40.0 if step >= at else 6.9})
    return verdict_of(health)


def test_a_crashed_run_is_resumed_and_says_how_many_steps_that_loses() -> None:
    first = next_steps(view("crashed", 200), None, [40, 94])[0]
    assert (first.key, first.text) == ("next.resume", "resume from step 94, steps lost: 106")


def test_a_finished_run_is_used_or_trained_longer() -> None:
    keys = [step.key for step in next_steps(view("finished", 300), None, [300])]
    assert keys == ["go.samples", "go.evaluate", "next.fork", "next.resume"]


@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_diverged_live_run_goes_back_to_the_last_checkpoint_before(state) -> None:
    cure = cure_of(diverged(88), [20, 40, 120], 3e-3)
    assert cure is not None and cure.step == 40 and cure.before <= 120
    (step,) = next_steps(view(state), cure, [20, 40, 120])
    assert step.key == "next.back"
    assert step.text == "back to step 40, LR / 3 (3.0e-3 → 1.0e-3)"


def test_a_checkpoint_of_weights_that_were_bad_already_is_passed_over() -> None:
    """The loss is bad from step 88 on, and known to have diverged 16 rows later."""
    verdict = diverged(88)
    assert verdict.step == 103
    for saved, step in (([40, 100], 40), ([40, 87], 40), ([40, 86], 86), ([88], 0)):
        cure = cure_of(verdict, saved, 3e-3)
        assert cure is not None and cure.step == step
        assert max((one for one in saved if one < cure.before), default=0) == step


def test_a_learning_rate_that_was_raised_since_the_checkpoint_is_what_it_was_there() -> None:
    raised = SettingHistory([SettingChange(40, "optim.lr", 3e-3, 3.0)])
    cure = cure_of(diverged(88), [20, 40], 3.0, raised)
    assert cure is not None and cure.lower == 3e-3
    (step,) = next_steps(view("running"), cure, [20, 40])
    assert step.text == "back to step 40, LR as it was there (3.0e0 → 3.0e-3)"
    # A third is lower still, or it was raised before the checkpoint: a third.
    for at, before, now, third in ((60, 2e-3, 3e-3, 1e-3), (30, 1e-3, 3e-3, 1e-3)):
        little = SettingHistory([SettingChange(at, "optim.lr", before, now)])
        cure = cure_of(diverged(88), [20, 40], now, little)
        assert cure is not None and cure.lower == pytest.approx(third)


def test_without_a_checkpoint_before_it_the_learning_rate_is_what_can_be_changed() -> None:
    cure = cure_of(diverged(88), [300], 3e-3)
    assert next_steps(view("running"), cure, [300])[0].key == "run.set"
    assert "same settings" in next_steps(view("stopped"), cure, [300])[0].text


def test_a_paused_run_goes_on_is_changed_or_used() -> None:
    keys = [step.key for step in next_steps(view("paused"), None, [40])]
    assert keys == ["run.pause", "run.set", "next.fork"]
    assert len(next_steps(view("paused"), None, [])) == 2


def test_nothing_is_offered_for_a_healthy_live_run_or_a_log_of_another_program() -> None:
    assert not next_steps(view("running"), None, [94])
    assert not next_steps(view(LOG_FILE, log_format="table"), None, [])
