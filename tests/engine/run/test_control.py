"""Control commands over a real Unix socket."""

import contextlib
import json
import os
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmm_tui.engine.run.control_client import send
from lmm_tui.engine.run.control_mailbox import Mailbox, Reply
from lmm_tui.engine.run.control_protocol import ControlError, decode_reply, encode_reply
from lmm_tui.engine.run.control_server import ControlServer
from lmm_tui.engine.run.run_dir import RunDir

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["ok", "message", "step", "data"]) | st.text(), inner)
    ),
    max_leaves=6,
)


class Loop:
    """A thread that answers every request with its own name."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.seen: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            if request := self.mailbox.take(timeout_s=0.05):
                self.seen.append(request.command)
                request.answer(Reply(True, request.command, step=5, data=request.args))

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        self.mailbox.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    running = Loop()
    yield running
    running.end()


@pytest.fixture
def server(loop: Loop, tmp_path: Path) -> Iterator[ControlServer]:
    serving = ControlServer(loop.mailbox, tmp_path / "c.sock")
    yield serving
    serving.close()


def talk(server: ControlServer, sent: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(os.fspath(server.path))
        connection.sendall(sent)
        return connection.makefile("rb").readline()


def test_a_reply_has_the_step_of_its_command(server: ControlServer) -> None:
    reply = send(server.path, "set", {"lr": 1e-4, "名": "值"})
    assert reply == Reply(True, "set", 5, {"lr": 1e-4, "名": "值"})


def test_the_socket_is_private_and_removed_at_the_end(loop: Loop, tmp_path: Path) -> None:
    server = ControlServer(loop.mailbox, tmp_path / "c.sock")
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
    server.close()
    assert not server.path.exists()
    with pytest.raises(ControlError, match="not active"):
        send(server.path, "pause")


def test_the_folder_of_a_socket_is_private(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are too long for a socket.
        monkeypatch.setattr("lmm_tui.engine.run.run_dir.tempfile.gettempdir", lambda: folder)
        path = RunDir(Path(folder) / ("x" * 120)).socket_path()
        server = ControlServer(loop.mailbox, path)
        assert path.parent.parent == Path(folder) and send(path, "pause").ok
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        server.close()


def test_a_folder_that_others_can_write_to_gets_no_socket(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr("lmm_tui.engine.run.run_dir.tempfile.gettempdir", lambda: folder)
        path = RunDir(Path(folder) / ("x" * 120)).socket_path()
        path.parent.mkdir()
        path.parent.chmod(0o777)
        with pytest.raises(ControlError, match="not a folder that only you can write to"):
            ControlServer(loop.mailbox, path)
        path.parent.rmdir()
        (Path(folder) / "elsewhere").mkdir(mode=0o700)
        path.parent.symlink_to("elsewhere")
        with pytest.raises(ControlError, match="not a folder that only you can write to"):
            ControlServer(loop.mailbox, path)
        path.parent.unlink()
        path.parent.mkdir(mode=0o700)
        monkeypatch.setattr("lmm_tui.engine.run.control_socket.os.getuid", lambda: os.geteuid() + 1)
        with pytest.raises(ControlError, match="not a folder that only you can write to"):
            ControlServer(loop.mailbox, path)
        assert not [*path.parent.iterdir()]


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_a_reply_or_refused(line: bytes) -> None:
    try:
        assert isinstance(decode_reply(line), Reply)
    except ControlError:
        pass


def test_a_reply_that_json_cannot_write_is_an_answer_still() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    reply = decode_reply(encode_reply(Reply(True, "done", 3, {"nested": nested})))
    assert reply == Reply(False, "done", 3)


def test_a_dead_socket_is_replaced_and_a_file_is_not(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    server = ControlServer(loop.mailbox, path)
    assert send(path, "pause").ok
    server.close()
    path.write_text("mine")
    with pytest.raises(ControlError, match="not a socket"):
        ControlServer(loop.mailbox, path)
    assert path.read_text() == "mine"


def test_commands_to_an_ended_run_are_refused(loop: Loop, server: ControlServer) -> None:
    loop.end()
    assert send(server.path, "pause") == Reply(False, "the run has ended")


def test_an_unknown_command_lists_the_known_ones(server: ControlServer) -> None:
    reply = send(server.path, "dance")
    assert not reply.ok
    assert "pause, resume, stop" in reply.message


def test_replies_come_in_the_order_of_the_commands(server: ControlServer) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(os.fspath(server.path))
        for name in ("pause", "dance", "resume"):
            connection.sendall(json.dumps({"command": name}).encode() + b"\n")
        answers = connection.makefile("rb")
        assert [json.loads(answers.readline())["ok"] for _ in range(3)] == [True, False, True]


@given(line=st.binary(max_size=300).filter(lambda line: b"\n" not in line))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_malformed_line_is_refused_and_the_next_client_is_served(
    server: ControlServer, line: bytes
) -> None:
    assert json.loads(talk(server, line + b"\n"))["ok"] is False
    assert send(server.path, "pause").ok


def test_an_endless_line_is_refused_and_its_client_dropped(server: ControlServer) -> None:
    answer = json.loads(talk(server, b"x" * 70_000))
    assert "at most 65536 bytes" in answer["message"]
    assert send(server.path, "pause").ok


def test_idle_clients_do_not_block_others(server: ControlServer) -> None:
    idle = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    for connection in idle:
        connection.connect(os.fspath(server.path))
    assert send(server.path, "pause").ok
    for connection in idle:
        connection.close()


def test_a_client_that_closed_its_sending_side_gets_its_replies(server: ControlServer) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(os.fspath(server.path))
        connection.sendall(b'{"command": "pause"}\n{"command": "probe"}\n')
        connection.shutdown(socket.SHUT_WR)
        answers = [json.loads(line)["message"] for line in connection.makefile("rb")]
    assert answers == ["pause", "probe"]


def test_a_flooding_client_is_slowed_down_and_others_are_served(
    loop: Loop, server: ControlServer
) -> None:
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX) as flood:
        flood.connect(os.fspath(server.path))
        flood.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                flood.send(b'{"command": "probe"}\n' * 500)
        assert send(server.path, "pause").ok
        served = len(loop.seen)
    # The burst, then the rate limit.
    assert served <= 257 + 100 * (time.monotonic() - began + 0.1)


def test_another_user_is_refused(
    loop: Loop, server: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmm_tui.engine.run.peer_credentials.os.geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ControlError):
        send(server.path, "stop")
    monkeypatch.undo()
    assert send(server.path, "pause").ok and loop.seen == ["pause"]
