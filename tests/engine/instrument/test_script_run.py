"""The run directory of a script: rows, states and replies, however the script ends."""

from __future__ import annotations

import math
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import curve, lines

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.instrument.script_metrics import InstrumentError
from lmm_tui.engine.instrument.script_run import ScriptRun, lmm_run
from lmm_tui.engine.instrument.silent_run import SilentRun
from lmm_tui.engine.run import control_client
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError


def begin(path: Path, **options: Any) -> ScriptRun:
    run = lmm_run(path / "mine", 100, **options)
    assert isinstance(run, ScriptRun)
    return run


def ask(run: ScriptRun, command: str, **args: Any) -> Future[Reply]:
    """Send a command over the socket from a thread; returns once it is in the mailbox."""
    answer: Future[Reply] = Future()
    path = run.run_dir.socket_path()
    threading.Thread(
        target=lambda: answer.set_result(control_client.send(path, command, args)), daemon=True
    ).start()
    while run.commands.mailbox._requests.empty() and not answer.done():
        pass
    return answer


def asked(run: ScriptRun, command: str, **args: Any) -> Reply:
    """The reply to a command that is served between two steps."""
    answer = ask(run, command, **args)
    _ = run.should_stop
    return answer.result(120)


def test_a_row_has_our_names_and_derived_metrics(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        run.log(step=1, tokens=64, loss=torch.tensor(2.0), learning_rate=1e-3, mine=5)
        run.log({"eval_loss": 2.5, "grad_norm": 0.5, "a/b": math.nan}, step=1)
        run.log(loss=1.0, tokens=128)
    first, again, second = lines(run.run_dir.metrics)
    assert (first["train/loss"], first["train/lr"], first["mine"], first["tokens"]) == (
        2.0,
        1e-3,
        5,
        64,
    )
    assert first["train/ppl"] == pytest.approx(math.exp(2)) and first["train/loss_ema"] == 2.0
    assert (again["val/loss"], again["a/b"], again["step"]) == (2.5, "NaN", 1)
    assert second["step"] == 2 and second["train/tokens_per_s"] > 0
    status = run.run_dir.read_status()
    assert (status.state, status.step, status.loss, status.val_loss) == ("finished", 2, 1.0, 2.5)
    assert (status.tokens, status.total_steps) == (128, 100)


@pytest.mark.parametrize("value", ["much", None, [1.0], torch.zeros(2)])
def test_a_value_that_is_not_a_number_is_refused_by_name(tmp_path: Path, value: Any) -> None:
    with begin(tmp_path) as run, pytest.raises(InstrumentError, match="mine: is"):
        run.log(step=1, mine=value)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, "finished"),
        (ValueError("no data"), "failed"),
        (KeyboardInterrupt(), "stopped"),
        (SystemExit(0), "finished"),
        (SystemExit(3), "failed"),
    ],
)
def test_every_exit_records_its_state(
    tmp_path: Path, error: BaseException | None, state: str
) -> None:
    def script() -> None:
        with begin(tmp_path) as run:
            run.log(step=1, loss=1.0)
            if error is not None:
                raise error

    if error is None:
        script()
    else:
        with pytest.raises(type(error)):
            script()
    run_dir = RunDir(tmp_path / "mine")
    status = run_dir.read_status()
    assert status.state == state and not run_dir.socket_path().exists()
    assert lines(run_dir.events)[-1]["message"] == state
    if isinstance(error, ValueError):
        assert status.error == "ValueError: no data"
        [failure] = [event for event in lines(run_dir.events) if event["kind"] == "error"]
        assert "raise error" in failure["traceback"]


def test_a_paused_script_blocks_in_log_and_serves_commands(tmp_path: Path) -> None:
    with begin(tmp_path, probe=lambda: {"entropy": 2.0}) as run:
        paused = ask(run, "pause")
        logging = threading.Thread(target=lambda: run.log(step=7, loss=1.0))
        logging.start()
        assert paused.result(120) == Reply(True, "paused", 7)
        path = run.run_dir.socket_path()
        assert control_client.send(path, "probe") == Reply(True, "entropy 2", 7)
        assert logging.is_alive() and run.run_dir.read_status().state in ("paused", "running")
        assert control_client.send(path, "resume").ok
        logging.join(120)
        assert not logging.is_alive()
    assert curve(run.run_dir, "probe/entropy") == {7: 2.0}


def test_functions_of_the_script_are_called_and_their_failures_reported(tmp_path: Path) -> None:
    def broken() -> None:
        raise OSError("disk full")

    with begin(
        tmp_path,
        checkpoint=broken,
        evaluate=lambda: {"loss": 3.0},
        sample=str.upper,
        probe=lambda: 7,  # type: ignore[arg-type,return-value]
    ) as run:
        run.log(step=4, loss=1.0)
        assert asked(run, "evaluate") == Reply(True, "loss 3", 4)
        assert asked(run, "sample", prompt="abc").ok
        failed = asked(run, "checkpoint")
        assert not failed.ok and "OSError: disk full" in failed.message
        assert not asked(run, "probe").ok
        assert "change it there" in asked(run, "set", lr=1).message
        run.log(step=5, loss=1.0)
        stop = ask(run, "stop")
        assert run.should_stop and not stop.done()
    assert not stop.result(120).ok and "disk full" in stop.result().message
    assert run.run_dir.read_status().state == "stopped"
    [sample] = lines(run.run_dir.samples)
    assert (sample["prompt"], sample["text"], sample["step"]) == ("abc", "ABC", 4)
    assert curve(run.run_dir, "val/loss") == {4: 3.0}


@pytest.mark.parametrize(("checkpoint", "how"), [(True, "with"), (False, "without")])
def test_stop_saves_on_request_and_is_answered_at_the_end(
    tmp_path: Path, checkpoint: bool, how: str
) -> None:
    saved: list[str] = []
    with begin(tmp_path, checkpoint=lambda: saved.append("now")) as run:
        run.log(step=1, loss=1.0)
        stop = ask(run, "stop", checkpoint=checkpoint)
        assert run.should_stop and not stop.done()
    assert stop.result(120) == Reply(True, f"stopped {how} a checkpoint", 1)
    assert len(saved) == checkpoint


def test_an_alert_is_an_event_and_triggers_its_action(tmp_path: Path) -> None:
    with begin(tmp_path, health={"checkpoint": ["loss_spike"]}) as run:
        for step in range(1, 60):
            run.log(step=step, loss=2.0)
        run.log(step=60, loss=50.0)
        run.log(step=61, loss=math.nan)
    alerts = [event for event in lines(run.run_dir.events) if event["kind"] == "alert"]
    assert [event["rule"] for event in alerts] == ["loss_spike", "loss_spike", "non_finite"]
    assert alerts[0]["suspect"] and "pass checkpoint=" in alerts[1]["message"]


def test_an_existing_run_is_refused_or_resumed(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        for step in range(1, 11):
            run.log(step=step, loss=2.0 if step < 10 else 90.0)
    with pytest.raises(RunDirError, match="holds a run already"):
        begin(tmp_path)
    with begin(tmp_path, resume=True) as run:
        run.log(step=8, loss=7.0)
        run.log(loss=6.0)
    assert run.run_dir.read_info().resumed_steps == [7]
    assert [row["step"] for row in lines(run.run_dir.metrics)][-2:] == [8, 9]


def test_two_scripts_cannot_share_a_run(tmp_path: Path) -> None:
    with begin(tmp_path), pytest.raises(RunDirError, match="in use by pid"):
        begin(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("health", "error"),
    [({"pause": 3}, ConfigError), ({"rollback": ["slow"]}, InstrumentError)],
)
def test_an_invalid_health_section_creates_no_run(
    tmp_path: Path, health: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match="health."):
        begin(tmp_path, health=health)
    assert not (tmp_path / "mine").exists()


def test_other_ranks_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with lmm_run(tmp_path / "mine") as run:
        run.log(step=1, loss=1.0)
        assert isinstance(run, SilentRun) and not run.should_stop
    assert not list(tmp_path.iterdir())


def test_logged_tensors_are_detached(tmp_path: Path) -> None:
    weight = torch.ones(1, requires_grad=True)
    with begin(tmp_path) as run:
        run.log(step=1, loss=(weight * 2).sum())
    assert curve(run.run_dir) == {1: 2.0}
