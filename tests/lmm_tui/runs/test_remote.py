"""A run on another machine is watched and steered over ssh; a broken connection is made again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_run import FakeRun
from processes import fake_ssh, until

from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.reader import Reader
from lmm_tui.runs.remote.messages import Growth, from_run
from lmm_tui.runs.remote.mirror import is_remote, mirrored
from lmm_tui.runs.remote.mirror_folder import RemoteError
from lmm_tui.runs.remote.protocol import Receiver


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `ssh` that runs its command here, with the pids of its shells in a file."""
    for name, value in fake_ssh(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path / "pids"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[FakeRun]:
    made = FakeRun(tmp_path / "far run")
    made.train(1, 30)
    yield made
    made.close()


def test_a_run_is_mirrored_as_it_grows_and_takes_commands(ssh: Path, run: FakeRun) -> None:
    run.serve(lambda request: Reply(True, f"{request.command} {request.args}", 31))
    with mirrored(f"me@box:{run.dir.path}") as mirror:
        session = Reader(mirror.path)

        def at(step: int) -> bool:
            session.poll()
            return session.series.last_step == step

        until(lambda: at(30))
        assert session.view.info.name == "far run" and session.view.state == "running"
        run.train(31, 55)
        until(lambda: at(55) and session.view.status.step == 55)
        until(lambda: (session.poll(), session.events and session.samples)[1])
        assert session.view.status.tokens_per_s == 20_480.0
        assert session.send("set", {"lr": 0.1}) == Reply(True, "set {'lr': 0.1}", 31)
        assert mirror.metrics.read_bytes() == run.dir.metrics.read_bytes()
    assert not mirror.path.exists()


def test_a_broken_connection_is_made_again_and_goes_on(ssh: Path, run: FakeRun) -> None:
    with mirrored(f"box:{run.dir.path}") as mirror:
        until(mirror.metrics.exists)
        os.kill(int(ssh.read_text().split()[-1]), signal.SIGKILL)
        run.train(31, 40)
        until(lambda: mirror.metrics.read_bytes() == run.dir.metrics.read_bytes())
        assert len(ssh.read_text().split()) == 2


def test_a_run_that_was_killed_there_is_crashed_here(ssh: Path, tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    dead = FakeRun(tmp_path / "dead", pid=gone.pid)
    with mirrored(f"box:{dead.dir.path}") as mirror:
        assert Reader(mirror.path).view.state == "crashed"
    dead.close()


def test_what_cannot_be_reached_is_said_in_one_sentence(
    ssh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RemoteError, match="not a run directory"), mirrored(f"box:{tmp_path}"):
        pass
    (tmp_path / "bin" / "ssh").write_text("#!/bin/sh\necho 'No route to host' >&2\nexit 255\n")
    with pytest.raises(RemoteError, match="box:x: No route to host"), mirrored("box:x"):
        pass
    (tmp_path / "bin" / "ssh").write_text("#!/bin/sh\nexec sleep 300\n")
    with pytest.raises(SystemExit) as ended, mirrored("box:x", [signal.SIGHUP]):
        pass
    assert ended.value.code == 128 + signal.SIGHUP
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(RemoteError, match="ssh cannot be started"), mirrored("box:x"):
        pass


def test_a_name_of_something_here_is_not_remote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_remote("a:b") and is_remote("me@box:/data/run 1")
    (tmp_path / "a:b").mkdir()
    assert not any(map(is_remote, ("a:b", "runs/a", "/x:y", "a")))


@pytest.mark.parametrize(
    "name",
    [
        "-oProxyCommand=x:y",
        "u@-oProxyCommand=x:y",
        "-u@box:y",
        "$(id):x",
        "a;b:p",
        "a b:p",
        "`a`:p",
    ],
)
def test_what_is_no_plain_host_name_never_reaches_ssh(name: str) -> None:
    assert not is_remote(name)


def test_ten_numbers_ten_times_a_second_are_two_kilobytes_at_most(
    ssh: Path, run: FakeRun, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        ["lmm-tui", "serve-run", str(run.dir.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin and process.stdout
    process.stdin.write(b'{"have": {}}\n')
    process.stdin.flush()
    counted = Counted(process.stdout)
    messages = iter(Receiver(counted))  # type: ignore[arg-type]
    seen, rows, before = 0, 0, 0
    for line in messages:
        message = from_run(line)
        if not isinstance(message, Growth) or message.file != "metrics.jsonl":
            continue
        if not before:
            before = counted.total
        rows += message.add.count("\n")
        if rows >= 70:
            break
        seen += 1
        for row in range(2):  # What the server finds at each of its looks, at ten steps a second.
            run.metrics.write(
                {"step": 31 + 2 * seen + row}
                | {f"train/metric_{number}": random.gauss(2, 0.1) for number in range(10)}
            )
    process.stdin.close()
    process.wait(120)
    process.stdout.close()
    bytes_per_s = (counted.total - before) / ((rows - 30) / 10)
    assert bytes_per_s <= 2000


class Counted:
    """A stream that counts what is read of it."""

    def __init__(self, stream) -> None:  # type: ignore[no-untyped-def]
        self._stream = stream
        self.total = 0

    def readline(self, size: int) -> bytes:
        return self._stream.readline(size)

    def read1(self, size: int) -> bytes:
        data = self._stream.read1(size)
        self.total += len(data)
        return data
