"""The control mailbox: commands to a running loop, from this process or over a Unix socket.

The loop takes requests between optimiser steps and answers each with what really happened.
A command is one JSON line `{"command": "set", "args": {"lr": 1e-4}}`, its answer one JSON line
`{"ok": true, "step": 12, "message": "…", "data": {…}}`. Nothing here knows what commands mean.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import socket
import stat
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lmm_tui.engine.run.peer_credentials import is_own
from lmm_tui.errors import LmmError

COMMANDS = (
    "pause",
    "resume",
    "stop",
    "checkpoint",
    "probe",
    "sample",
    "evaluate",
    "set",
    "rollback",
    "talk",
    "read",
)

_MAX_LINE = 64 * 1024
_MAX_CLIENTS = 16
_MAX_WAITING = 64
"""Commands of one client that wait for the loop."""
_BACKLOG = 128
_LINES_PER_S = 100.0
_BURST = 256.0
"""Lines of all clients together: what more comes waits with its sender, not in the loop."""


class ControlError(LmmError):
    """A command that could not be delivered or understood."""


class CommandError(LmmError):
    """A command with arguments that it does not take."""


@dataclass(frozen=True)
class Reply:
    """What a command did: `step` is the optimiser step after which it took effect."""

    ok: bool
    message: str
    step: int = 0
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class Request:
    """A command on its way to the loop; answering it once is the loop's duty."""

    command: str
    args: dict[str, Any]
    reply: Future[Reply] = field(default_factory=Future)

    def answer(self, reply: Reply) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)


class Mailbox:
    """A thread-safe queue of requests with one consumer, the training loop."""

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._closed = threading.Event()

    def send(self, command: str, args: Mapping[str, Any] | None = None) -> Future[Reply]:
        """Post a command; the future holds the Reply once the loop has done it."""
        request = Request(command, dict(args or {}))
        if command not in COMMANDS:
            request.answer(
                Reply(False, f"unknown command {command!r}; choose from {', '.join(COMMANDS)}")
            )
        elif self._closed.is_set():
            request.answer(Reply(False, "the run has ended"))
        else:
            self._requests.put(request)
            if self._closed.is_set():
                self.close()
        return request.reply

    def take(self, timeout_s: float | None = None) -> Request | None:
        """The next request; waits up to `timeout_s` for one where that is given."""
        try:
            if timeout_s is None:
                return self._requests.get_nowait()
            return self._requests.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Refuse what still waits and whatever comes: the run has ended."""
        self._closed.set()
        while request := self.take():
            request.answer(Reply(False, "the run has ended"))


class ControlServer:
    """Serves a mailbox on a Unix socket of mode 0600, in one thread that never blocks."""

    def __init__(self, mailbox: Mailbox, path: Path) -> None:
        self.path = path
        self._mailbox = mailbox
        self._selector = selectors.DefaultSelector()
        self._clients: dict[socket.socket, _Client] = {}
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._listener = _listen(path)
        self._inode = path.stat().st_ino
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._budget = _BURST
        self._counted = time.monotonic()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._thread.start()

    def close(self, flush_s: float = 1.0) -> None:
        """Send the answers that are ready, then remove the socket."""
        self._closing = True
        self._wake()
        self._thread.join(flush_s)
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_write.send(b"\0")

    def _serve(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select(self._pause_s()):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake_read:
                    with contextlib.suppress(BlockingIOError):
                        self._wake_read.recv(4096)
                elif client := self._clients.get(key.fileobj):  # type: ignore[call-overload]
                    self._read(client)
            self._dispatch_all()
            self._flush_all()
        self._flush_all()
        for connection in [*self._clients, self._listener, self._wake_read, self._wake_write]:
            connection.close()
        self._selector.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            if not is_own(connection):
                connection.close()
                return
            if len(self._clients) >= _MAX_CLIENTS:
                self._drop(self._longest_idle())
            connection.setblocking(False)
            self._clients[connection] = _Client(connection)
            self._selector.register(connection, selectors.EVENT_READ)

    def _longest_idle(self) -> _Client:
        """The first to have come that waits for nothing, or simply the first."""
        clients = list(self._clients.values())
        return next((client for client in clients if not client.replies), clients[0])

    def _read(self, client: _Client) -> None:
        try:
            received = client.connection.recv(_MAX_LINE)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        client.inbox += received
        client.gone = not received

    def _pause_s(self) -> float | None:
        """How long lines that have come must wait for their turn; None without such lines."""
        if not any(client.has_line for client in self._clients.values()):
            return None
        return max(0.0, (1 - self._budget) / _LINES_PER_S)

    def _dispatch_all(self) -> None:
        """A line of each client in turn, as many as may be taken now."""
        now = time.monotonic()
        self._budget = min(_BURST, self._budget + (now - self._counted) * _LINES_PER_S)
        self._counted = now
        while self._budget >= 1 and (
            ready := [client for client in self._clients.values() if client.has_line]
        ):
            for client in ready:
                line, _, client.inbox = client.inbox.partition(b"\n")
                reply = self._dispatch(line)
                client.replies.append(reply)
                reply.add_done_callback(lambda _: self._wake())
                self._budget -= 1
        for client in list(self._clients.values()):
            if client.too_long:
                refusal: Future[Reply] = Future()
                refusal.set_result(Reply(False, f"a command line has at most {_MAX_LINE} bytes"))
                client.replies.append(refusal)
                client.inbox = b""
                client.dropping = True

    def _dispatch(self, line: bytes) -> Future[Reply]:
        try:
            message = json.loads(line)
            command, args = message["command"], message.get("args", {})
            if not isinstance(command, str) or not isinstance(args, dict):
                raise TypeError
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            refusal: Future[Reply] = Future()
            refusal.set_result(Reply(False, 'expected {"command": NAME, "args": {…}} on one line'))
            return refusal
        return self._mailbox.send(command, args)

    def _flush_all(self) -> None:
        for client in list(self._clients.values()):
            while client.replies and client.replies[0].done():
                reply = client.replies.pop(0).result()
                line = json.dumps(asdict(reply), ensure_ascii=False, default=str)
                client.outbox += line.encode("utf-8", "replace") + b"\n"
            leaving = client.dropping or client.gone
            if not self._flush(client) or (leaving and client.done):
                self._drop(client)

    def _flush(self, client: _Client) -> bool:
        """Send what the client takes now; False where it is gone."""
        if client.outbox:
            try:
                sent = client.connection.send(client.outbox)
                client.outbox = client.outbox[sent:]
            except BlockingIOError:
                pass
            except OSError:
                return False
        self._watch(client)
        return True

    def _watch(self, client: _Client) -> None:
        """Read no more from whom has enough to be served first."""
        full = len(client.inbox) > _MAX_LINE or len(client.replies) >= _MAX_WAITING
        wanted = 0 if full or client.gone or client.dropping else selectors.EVENT_READ
        wanted |= selectors.EVENT_WRITE if client.outbox else 0
        if client.watched:
            self._selector.unregister(client.connection)
        if wanted:
            self._selector.register(client.connection, wanted)
        client.watched = bool(wanted)

    def _drop(self, client: _Client) -> None:
        if client.watched:
            self._selector.unregister(client.connection)
        del self._clients[client.connection]
        client.connection.close()


@dataclass
class _Client:
    connection: socket.socket
    inbox: bytes = b""
    outbox: bytes = b""
    replies: list[Future[Reply]] = field(default_factory=list)
    dropping: bool = False
    gone: bool = False
    """Whether the other end sends no more."""
    watched: bool = True

    @property
    def has_line(self) -> bool:
        """Whether a whole line waits that may be served now."""
        return self._line_came and len(self.replies) < _MAX_WAITING

    @property
    def too_long(self) -> bool:
        return len(self.inbox) > _MAX_LINE and not self._line_came

    @property
    def done(self) -> bool:
        """Whether all that it asked is answered."""
        return not (self._line_came or self.replies or self.outbox)

    @property
    def _line_came(self) -> bool:
        return self.inbox.find(b"\n", 0, _MAX_LINE + 1) >= 0


def send(
    path: Path, command: str, args: Mapping[str, Any] | None = None, timeout_s: float = 60.0
) -> Reply:
    """Deliver one command to the run that listens at `path` and wait for its answer.

    Raises ControlError where nobody listens or no answer comes in time.
    """
    line = json.dumps({"command": command, "args": dict(args or {})}).encode() + b"\n"
    deadline = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(os.fspath(path))
            if not is_own(connection):
                raise ControlError(f"{path}: another user listens there")
            connection.sendall(line)
            answer = b""
            while not answer.endswith(b"\n"):
                connection.settimeout(max(deadline - time.monotonic(), 0.01))
                part = connection.recv(_MAX_LINE)
                if not part:
                    raise ControlError("the run ended before it answered")
                answer += part
        except TimeoutError:
            raise ControlError(f"{command}: no answer within {timeout_s:.0f} s") from None
        except (FileNotFoundError, ConnectionRefusedError):
            raise ControlError("the run is not active: nobody listens on its socket") from None
        except OSError as error:
            raise ControlError(f"{path}: {error.strerror or error}") from None
    return Reply(**json.loads(answer))


def _listen(path: Path) -> socket.socket:
    """Bind a fresh listening socket; whoever holds the run's lock may replace a dead one."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _no_socket(path, error) from None
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ControlError(f"{path}: exists and is not a socket; remove it")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
    except OSError as error:
        listener.close()
        raise _no_socket(path, error) from None
    finally:
        os.umask(previous)
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def _no_socket(path: Path, error: OSError) -> ControlError:
    reason = error.strerror or error
    return ControlError(
        f"{path}: no socket can be made there ({reason}); choose another --runs-dir"
    )


if __name__ == "__main__":
    import tempfile

    box = Mailbox()

    def one_step_loop() -> None:
        request = box.take(timeout_s=5)
        assert request is not None
        request.answer(Reply(True, f"{request.command} {request.args}", step=7))

    with tempfile.TemporaryDirectory() as folder:
        server = ControlServer(box, Path(folder) / "control.sock")
        loop = threading.Thread(target=one_step_loop)
        loop.start()
        print(send(server.path, "set", {"lr": 1e-4}))
        loop.join()
        print(send(server.path, "dance"))
        box.close()
        print(send(server.path, "pause"))
        server.close()
    print("=== 自测通过 ===")
