"""The control socket of a run: serves the mailbox to other processes of the same user.

One thread runs a selector loop over non-blocking sockets. Clients are limited in number, line
length, pending commands and rate, so that none of them can stall the training loop or the others.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import stat
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from lmm_tui.engine.run.control_mailbox import Mailbox, Reply
from lmm_tui.engine.run.control_protocol import (
    MAX_LINE,
    ControlError,
    decode_command,
    encode_reply,
)
from lmm_tui.engine.run.peer_credentials import is_own
from lmm_tui.engine.run.run_dir import SOCKET
from lmm_tui.message import Message, os_reason

_MAX_CLIENTS = 16
_MAX_WAITING = 64
"""Unanswered commands of one client."""
_BACKLOG = 128
_LINES_PER_S = 100.0
_BURST = 256.0
"""Lines of all clients together; further ones stay in their clients' buffers."""


class NoSocketError(ControlError):
    """A place where no socket can be made, as on some network and user-space file systems."""

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.reason = reason


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
        """Send the replies that are ready, then remove the socket."""
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
        """The oldest client without a pending reply, or the oldest of all."""
        clients = list(self._clients.values())
        return next((client for client in clients if not client.replies), clients[0])

    def _read(self, client: _Client) -> None:
        try:
            received = client.connection.recv(MAX_LINE)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        client.inbox += received
        client.gone = not received

    def _pause_s(self) -> float | None:
        """Time until the next buffered line may be served; None if no line is buffered."""
        if not any(client.has_line for client in self._clients.values()):
            return None
        return max(0.0, (1 - self._budget) / _LINES_PER_S)

    def _dispatch_all(self) -> None:
        """Serve one line of each client in turn, within the rate limit (a token bucket)."""
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
                client.replies.append(
                    _refusal(
                        Message("a command line has at most {max_line} bytes", max_line=MAX_LINE)
                    )
                )
                client.inbox = b""
                client.dropping = True

    def _dispatch(self, line: bytes) -> Future[Reply]:
        try:
            return self._mailbox.send(*decode_command(line))
        except ControlError as error:
            return _refusal(str(error))

    def _flush_all(self) -> None:
        for client in list(self._clients.values()):
            while client.replies and client.replies[0].done():
                client.outbox += encode_reply(client.replies.pop(0).result())
            leaving = client.dropping or client.gone
            if not self._flush(client) or (leaving and client.done):
                self._drop(client)

    def _flush(self, client: _Client) -> bool:
        """Send what the socket accepts now; False if the client disconnected."""
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
        """Select for reading unless the client's buffers are full, for writing if replies wait."""
        full = len(client.inbox) > MAX_LINE or len(client.replies) >= _MAX_WAITING
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
    """Whether the client closed its sending side."""
    watched: bool = True

    @property
    def has_line(self) -> bool:
        """Whether a complete line is buffered and may be served now."""
        return self._line_complete and len(self.replies) < _MAX_WAITING

    @property
    def too_long(self) -> bool:
        return len(self.inbox) > MAX_LINE and not self._line_complete

    @property
    def done(self) -> bool:
        """Whether every command is answered and every reply sent."""
        return not (self._line_complete or self.replies or self.outbox)

    @property
    def _line_complete(self) -> bool:
        return self.inbox.find(b"\n", 0, MAX_LINE + 1) >= 0


def _listen(path: Path) -> socket.socket:
    """Bind a listening socket in place of a dead one; the caller holds the run's lock."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _no_socket(path, error) from None
    if path.name != SOCKET:
        _require_own(path.parent)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ControlError("{path}: exists and is not a socket; remove it", path=path)
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


def _require_own(folder: Path) -> None:
    """A folder outside of a run, such as in /tmp, where another user may have made it first."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ControlError(
            "{folder}: is not a folder that only you can write to, so no socket "
            "is made there; set XDG_RUNTIME_DIR to one, or choose a shorter "
            "--runs-dir",
            folder=folder,
        )


def _refusal(sentence: str) -> Future[Reply]:
    refused: Future[Reply] = Future()
    refused.set_result(Reply(False, sentence))
    return refused


def _no_socket(path: Path, error: OSError) -> NoSocketError:
    reason = os_reason(error)
    return NoSocketError(
        Message(
            "{path}: no socket can be made there ({reason}); choose another --runs-dir",
            path=path,
            reason=reason,
        ),
        reason,
    )


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        server = ControlServer(Mailbox(), Path(folder) / "control.sock")
        print(server._dispatch(b"[1]").result())
        server.close()
    print("=== 自测通过 ===")
