"""Run, the writing side that our trainer and the scripts of others share."""

import inspect
import threading
from pathlib import Path

import pytest
from small_runs import lines

from lmm_tui import lmm_run
from lmm_tui.engine.run.command_server import Outcome
from lmm_tui.engine.run.control_client import send
from lmm_tui.engine.run.run import Run, identify
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError
from lmm_tui.engine.run.run_records import RunStatus
from lmm_tui.engine.run.samples import RunSample
from lmm_tui.engine.training.loop import Trainer


def begin(path: Path) -> Run:
    return Run(RunDir(path), identify(path.name, "demo"), RunStatus("running"), tensorboard=False)


def test_scripts_and_the_trainer_write_through_one_class(tmp_path: Path) -> None:
    with lmm_run(tmp_path / "mine") as run:
        assert isinstance(run, Run)
    assert inspect.signature(Trainer).parameters["run"].annotation == "Run"


def test_what_is_registered_is_done_and_recorded(tmp_path: Path) -> None:
    with begin(tmp_path / "a") as run:

        def change(args: dict[str, object]) -> Outcome:
            return Outcome("lr 1", changes=[{"key": "lr"}], data={"lr": args["lr"]})

        run.commands.register("set", change, {"lr": float})
        asked = {
            name: run.commands.mailbox.send(name, args)
            for name, args in {"set": {"lr": 1}, "probe": {}, "pause": {"now": True}}.items()
        }
        run.commands.serve()
    replies = {name: future.result() for name, future in asked.items()}
    assert replies["set"].ok and replies["set"].data == {"lr": 1}
    assert replies["probe"].message == "probe: this run does not take it"
    assert "unknown option now" in replies["pause"].message
    events = {event["message"]: event for event in lines(run.run_dir.events)}
    assert events["set: lr 1"]["changes"] == [{"key": "lr"}]
    assert [event["ok"] for event in lines(run.run_dir.events)[:3]] == [True, False, False]


def test_a_query_is_answered_and_no_event(tmp_path: Path) -> None:
    with begin(tmp_path / "a") as run:
        run.commands.register_query("read", lambda args: Outcome("read", data={"n": 1}))
        reply = run.commands.mailbox.send("read", {"text": "a"})
        run.commands.serve()
    assert reply.result().data == {"n": 1}
    assert [event["kind"] for event in lines(run.run_dir.events)] == ["end"]


def test_an_unexpected_failure_ends_the_run_only_where_it_must(tmp_path: Path) -> None:
    def fails(args: dict[str, object]) -> str:
        raise ZeroDivisionError("half done")

    with begin(tmp_path / "a") as run:
        run.commands.register("probe", fails)
        run.commands.register("rollback", fails, must_end_whole=True)
        probe, rollback = map(run.commands.mailbox.send, ("probe", "rollback"))
        with pytest.raises(ZeroDivisionError):
            run.commands.serve()
    for reply in (probe.result(), rollback.result()):
        assert not reply.ok and "ZeroDivisionError: half done" in reply.message


@pytest.mark.parametrize("saved", [True, False])
def test_a_stop_is_answered_when_the_run_has_ended(tmp_path: Path, saved: bool) -> None:
    with begin(tmp_path / "a") as run:
        reply = run.commands.mailbox.send("stop")
        run.commands.serve()
        assert run.commands.stop is not None and not reply.done()
        run.commands.stop.saved = saved
    assert reply.result().ok is saved
    assert run.run_dir.read_status().state == "stopped"


def test_everything_is_closed_in_order_and_once(tmp_path: Path) -> None:
    threads = threading.active_count()
    run = begin(tmp_path / "a")
    calls: list[str] = []
    run.on_close(lambda: calls.append("first made"))
    run.on_close(lambda: calls.append("last made"))
    run.on_row(lambda step, row: calls.append(f"{step} {row['train/loss']}"))
    run.metrics.update_loss(2.0)
    run.tell_row(1, run.metrics.log(1))
    run.add_sample(RunSample(1, prompt="a", text="b"))
    path = run.run_dir.socket_path()
    run.close(ValueError("no"))
    run.close()
    assert calls == ["1 2.0", "last made", "first made"]
    assert run.run_dir.read_status().state == "failed"
    assert [event["kind"] for event in lines(run.run_dir.events)] == ["error", "end"]
    assert "ValueError: no" in lines(run.run_dir.events)[0]["traceback"]
    assert not path.exists() and threading.active_count() == threads
    with begin(tmp_path / "b"), pytest.raises(RunDirError, match="in use"):
        begin(tmp_path / "b")
    with run.run_dir.lock():  # It is free again.
        pass


def test_a_run_is_steered_over_its_socket(tmp_path: Path) -> None:
    with begin(tmp_path / "a") as run:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                run.commands.serve()

        loop = threading.Thread(target=serve)
        loop.start()
        path = run.run_dir.socket_path()
        assert send(path, "pause").message == "paused" and run.commands.paused
        assert run.run_dir.read_status() is not None
        ended.set()
        assert send(path, "resume").message == "running"
        loop.join()


def test_a_sample_comes_back_from_its_line() -> None:
    sample = RunSample(3, prompt="a", text="b", details={"reward": 0.5})
    assert RunSample.from_record(sample.record()) == sample
    assert RunSample.from_record({"step": "3", "kind": "sample", "time": 1.0}) is None
    untimed = RunSample.from_record({"step": 3, "kind": "token_losses", "tokens": ["a"]})
    assert untimed == RunSample(3, "token_losses", details={"tokens": ["a"]}, time=0.0)
