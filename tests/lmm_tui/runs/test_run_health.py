"""The verdict for a screen: as `lmm-tui health` gives it, at any time, from the new rows alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fake_run import FakeRun

from lmm_tui.engine.run.reader import Reader
from lmm_tui.metrics.health.alert import Alert
from lmm_tui.runs import run_health
from lmm_tui.runs.run_health import HealthView, RunHealth


def opened_of(seen: HealthView) -> list[Alert]:
    """All open alerts, those that others explain included."""
    return [alert for it in seen.verdict.findings for alert in (it.alert, *it.consequences)]


def opened(run: FakeRun) -> tuple[Reader, RunHealth]:
    session = Reader(run.dir.path)
    session.poll()
    return session, RunHealth(session)


def test_a_fault_of_a_live_run_is_seen_and_calms_down(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "live")
    run.train(1, 100)
    session, health = opened(run)
    assert health.look(9).verdict.text == "healthy up to step 99"
    run.metrics.write({"step": 101, "train/loss": 99.0})
    run.train(102, 103)
    session.poll()
    seen = health.look(9)
    assert [(alert.step, alert.rule) for alert in opened_of(seen)] == [(101, "loss_spike")]
    assert "suspect a bad batch" in seen.verdict.text and opened_of(seen)[0].advice
    assert seen.complete
    run.train(104, 140)
    session.poll()
    calm = health.look(9)
    assert not calm.verdict.findings and len(calm.alerts) == 1
    assert calm.verdict.text == "healthy now, 1 alert before (last: step 101)"
    run.close()


def test_numbers_that_join_the_last_row_late_are_judged(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "late")
    run.train(1, 10)
    session, health = opened(run)
    health.look(9)
    run.metrics.write({"step": 10, "val/loss": "NaN"})
    session.poll()
    run.train(11, 11)
    session.poll()
    assert [alert.rule for alert in health.look(9).alerts] == ["non_finite"]
    run.close()


def test_an_ended_run_is_judged_to_its_last_row(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "ended", state="finished")
    run.metrics.write({"step": 1, "train/loss": "NaN"})
    _, health = opened(run)
    assert health.look(9).verdict.findings[0].alert.step == 1
    run.close()


def test_a_resumed_run_is_judged_anew(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "again", state="finished")
    run.train(1, 60)
    run.metrics.write({"step": 61, "train/loss": 99.0})
    session, health = opened(run)
    assert health.look(9).verdict.findings
    run.train(50, 80)
    run.dir.write_info(replace(run.info, started=run.info.started + 1))
    session.poll()
    assert health.look(9).verdict.text == "healthy up to step 80"
    run.close()


def test_levels_of_the_data_that_come_later_count(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "levels", state="finished", references={})
    run.metrics.write({"step": 1, "train/loss": 9.0})
    session, health = opened(run)
    assert not health.look(9).verdict.findings
    run.dir.write_info(replace(run.info, references={"ln V": 6.9}))
    session.poll()
    assert health.look(9).verdict.findings[0].alert.rule == "first_loss_high"
    run.close()


def test_the_run_s_own_rules_are_used_and_broken_ones_stop_nothing(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "own", state="finished")
    run.metrics.write({"step": 1, "train/loss": "NaN"})
    (tmp_path / "rules.toml").write_text("[rules.non_finite]\nenabled = false\n")
    run.dir.config.write_text(f"[health]\nrules = '{tmp_path}/rules.toml'\n")
    assert not opened(run)[1].look(9).verdict.findings
    (tmp_path / "rules.toml").unlink()
    assert opened(run)[1].look(9).verdict.findings
    run.close()


def test_a_backlog_is_worked_off_look_by_look(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "long", state="finished")
    run.train(1, 1500)
    assert run_health._BACKLOG > 1500
    _, health = opened(run)
    looks = 0
    while not (seen := health.look()).complete:
        looks += 1
    assert looks > 2 and seen.verdict.text == "healthy up to step 1500"
    run.close()


def test_a_long_backlog_is_judged_by_the_column(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "longer", state="finished")
    run.train(1, 4000)
    run.metrics.write({"step": 4001, "train/loss": 99.0})
    _, health = opened(run)
    seen = health.look()
    assert seen.complete
    assert [alert.step for alert in opened_of(seen) if alert.rule == "loss_spike"] == [4001]
    run.close()
