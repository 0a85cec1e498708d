"""The run directory: ownership, derived states, run look-up."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lmm_tui.engine.run.find_run import find_run, list_runs
from lmm_tui.engine.run.jsonl_writer import JsonlWriter
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError
from lmm_tui.engine.run.run_records import RunInfo, RunStatus
from lmm_tui.engine.run.status_writer import StatusWriter


def identity(name: str = "demo", **changes: object) -> RunInfo:
    process = psutil.Process()
    info = RunInfo(
        name=name,
        stage="pretrain",
        created=1.0,
        started=time.time(),
        host=socket.gethostname(),
        pid=process.pid,
        pid_started=process.create_time(),
    )
    return replace(info, **changes)  # type: ignore[arg-type]


def make_run(folder: Path, name: str = "demo", **changes: object) -> RunDir:
    run = RunDir(folder / name)
    run.create()
    run.write_info(identity(name, **changes))
    return run


def test_two_processes_never_own_one_run(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    code = (
        "import sys; from lmm_tui.engine.run.run_dir import RunDir; "
        "held = RunDir(sys.argv[1]).lock(); "
        "print('held', flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(RunDirError, match=f"in use by pid {owner.pid}"):
        run.lock()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    run.lock().close()


def test_states_are_derived_from_heartbeat_and_process(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    alive, now = run.read_info(), time.time()
    running = RunStatus(state="running", heartbeat=now)
    assert run.derived_state(alive, running, now) == "running"
    assert run.derived_state(alive, running, now + 11) == "stale"
    gone = replace(alive, pid_started=alive.pid_started - 100)
    assert run.derived_state(gone, running, now + 11) == "crashed"
    assert run.derived_state(replace(alive, pid=2**22 + 1), running, now) == "crashed"
    elsewhere = replace(gone, host="another-host")
    assert run.derived_state(elsewhere, running, now) == "running"
    assert run.derived_state(gone, RunStatus(state="finished"), now) == "finished"


def test_a_changed_clock_does_not_make_a_run_crashed(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    now = time.time()
    for jump in (-3600, 3600):
        # Process start times are relative to boot, so they shift with the clock.
        info = replace(run.read_info(), started=min(now, now - jump))
        moved = replace(info, pid_started=info.pid_started - jump)
        beating = RunStatus(state="running", heartbeat=now)
        assert run.derived_state(moved, beating, now) == "running"
    ahead = RunStatus(state="running", heartbeat=now + 3600)
    reused = replace(run.read_info(), pid_started=1.0)
    assert run.derived_state(reused, ahead, now) == "crashed"
    assert run.derived_state(replace(reused, host="another-host"), ahead, now) == "running"


def test_a_copied_run_does_not_use_the_socket_of_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, copy = RunDir(tmp_path / "original"), RunDir(tmp_path / "copy")
    info = identity("original", socket=str(original.socket_path()))
    assert original.listening_at(info) == original.path / "control.sock"
    assert copy.listening_at(info) == copy.path / "control.sock"
    deep, deep_copy = RunDir(tmp_path / ("x" * 120)), RunDir(tmp_path / ("y" * 120))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    info = identity("deep", socket=str(deep.socket_path()))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/8")
    assert deep.listening_at(info) == Path(info.socket)
    assert deep_copy.listening_at(info) == deep_copy.socket_path()


def test_a_run_without_a_status_yet_is_starting(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert run.derived_state(run.read_info(), run.read_status()) == "starting"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}', "\x00"])
def test_a_run_with_a_damaged_identity_is_refused(tmp_path: Path, text: str) -> None:
    run = make_run(tmp_path)
    run.info_file.write_text(text)
    with pytest.raises(RunDirError, match="not a run directory"):
        run.read_info()
    assert list_runs(tmp_path) == []


def test_a_newer_format_is_refused_and_unknown_keys_are_ignored(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    found = json.loads(run.info_file.read_text())
    run.info_file.write_text(json.dumps(found | {"mood": "good"}))
    assert run.read_info().name == "demo"
    run.info_file.write_text(json.dumps(found | {"format": 99}))
    with pytest.raises(RunDirError, match="format 99 is newer"):
        run.read_info()


def test_the_newest_run_is_found_and_a_missing_one_is_named(tmp_path: Path) -> None:
    make_run(tmp_path, "old", started=1.0)
    make_run(tmp_path, "new", started=2.0)
    assert find_run(None, tmp_path).name == "new"
    assert find_run("old", tmp_path).name == "old"
    assert find_run(str(tmp_path / "old"), "elsewhere").name == "old"
    with pytest.raises(RunDirError, match="no such run"):
        find_run("none", tmp_path)
    with pytest.raises(RunDirError, match="holds no runs"):
        find_run(None, tmp_path / "empty")


def test_a_deep_run_gets_its_socket_in_the_runtime_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    deep = RunDir(tmp_path / ("x" * 120))
    assert deep.socket_path().parent == Path("/run/user/7")
    assert len(os.fsencode(deep.socket_path())) < 108
    assert deep.socket_path() != RunDir(tmp_path / ("y" * 120)).socket_path()


def test_a_torn_last_line_is_ended_before_the_next_is_written(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"a": 1}\n{"b": ')
    writer = JsonlWriter(path)
    writer.write({"c": "\ud800 ok"})
    writer.close()
    assert path.read_bytes().split(b"\n")[1:] == [b'{"b": ', b'{"c": "? ok"}', b""]


def test_the_heartbeat_continues_while_the_loop_is_busy(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    status = StatusWriter(run, RunStatus(state="running"), period_s=0.01)
    first = run.read_status().heartbeat
    deadline = time.monotonic() + 120
    while run.read_status().heartbeat == first:
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)
    status.update(state="finished", step=3)
    status.close()
    assert run.read_status().state == "finished"
    assert run.read_status().step == 3
