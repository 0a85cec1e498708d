"""The control socket of a run: serves the mailbox to other processes of the same user.

An asyncio loop in one thread. Clients are limited in number, line length, unanswered commands and
rate, so that none of them can stall the training loop or the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from pathlib import Path

from lmm_tui.engine.run.control_mailbox import Mailbox, Reply
from lmm_tui.engine.run.control_protocol import (
    MAX_LINE,
    ControlError,
    decode_command,
    encode_reply,
)
from lmm_tui.engine.run.control_socket import NoSocketError, bind_socket
from lmm_tui.engine.run.peer_credentials import is_own
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.message import Message

_MAX_CLIENTS = 16
_MAX_WAITING = 64
"""Unanswered commands of one client."""
_LINES_PER_S = 100.0
_BURST = 256
"""Lines of all clients together; further ones stay in their clients' buffers."""


def listen(mailbox: Mailbox, run_dir: RunDir, required: bool) -> tuple[ControlServer | None, str]:
    """A server in the run or else in the runtime folder; if not in the run, a sentence.

    Raises NoSocketError where the socket in the run is `required` and cannot be made.
    """
    reason = ""
    for path in dict.fromkeys((run_dir.socket_path(), run_dir.runtime_socket_path())):
        try:
            server = ControlServer(mailbox, path)
        except NoSocketError as error:
            if required:
                raise
            reason = reason or error.reason
        else:
            told = Message(
                "no socket can be made in the run's folder ({reason}); commands go by {path}",
                reason=reason,
                path=path,
            )
            return server, told if reason else ""
    return None, Message(
        "no socket can be made ({reason}); the script trains on and takes no commands",
        reason=reason,
    )


class ControlServer:
    """Serves a mailbox on a Unix socket of mode 0600, in one thread."""

    def __init__(self, mailbox: Mailbox, path: Path) -> None:
        self.path = path
        self._mailbox = mailbox
        self._listener = bind_socket(path)
        self._inode = path.stat().st_ino
        self._clients: list[_Client] = []
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._turn = asyncio.Lock()
        self._budget = float(_BURST)
        self._counted = self._loop.time()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def close(self, flush_s: float = 1.0) -> None:
        """Send the replies that are ready, then remove the socket."""
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(flush_s)
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_unix_server(self._accept, sock=self._listener, limit=MAX_LINE)
        await self._ending.wait()
        server.close()
        sending = [client.end() for client in self._clients]
        if sending:
            await asyncio.wait(sending, timeout=1.0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            if not is_own(writer.get_extra_info("socket")):
                writer.close()
                return
        if len(self._clients) >= _MAX_CLIENTS:
            # The oldest without a pending reply, or the oldest of all.
            idle = (client for client in self._clients if not client.waiting)
            dropped = next(idle, self._clients[0])
            dropped.drop()
            self._clients.remove(dropped)
        client = _Client(reader, writer)
        self._clients.append(client)
        with contextlib.suppress(asyncio.CancelledError):  # At the end, or of a dropped client.
            await self._read(client)
            await client.end()
        client.drop()
        if client in self._clients:
            self._clients.remove(client)

    async def _read(self, client: _Client) -> None:
        """Post the client's commands until it closes its sending side, or sends too long a line."""
        while line := await client.line():
            await client.may_send()
            await self._wait_for_turn()
            client.promise(self._dispatch(line))
        if line is None:
            why = Message("a command line has at most {max_line} bytes", max_line=MAX_LINE)
            client.promise(_refusal(why))

    async def _wait_for_turn(self) -> None:
        """Keep all clients within the rate limit (a token bucket), each in its turn."""
        async with self._turn:
            now = self._loop.time()
            gained = (now - self._counted) * _LINES_PER_S
            self._budget, self._counted = min(_BURST, self._budget + gained), now
            if self._budget < 1:
                await asyncio.sleep((1 - self._budget) / _LINES_PER_S)
            self._budget -= 1

    def _dispatch(self, line: bytes) -> Future[Reply]:
        try:
            return self._mailbox.send(*decode_command(line))
        except ControlError as error:
            return _refusal(str(error))


class _Client:
    """One connection: reads lines, and sends the replies in the order of the commands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.waiting = 0
        """Commands without a reply."""
        self._reader, self._writer = reader, writer
        self._replies: asyncio.Queue[Future[Reply] | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(_MAX_WAITING)
        self._sending = asyncio.create_task(self._send_replies())

    async def line(self) -> bytes | None:
        """The next one; empty at the end, None if it is too long."""
        try:
            return await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:  # A line without its end is none.
            return b""
        except asyncio.LimitOverrunError:
            return None
        except OSError:
            return b""

    async def may_send(self) -> None:
        await self._room.acquire()

    def promise(self, reply: Future[Reply]) -> None:
        self.waiting += 1
        self._replies.put_nowait(reply)

    def end(self) -> asyncio.Task[None]:
        """Send what is promised, and no more; the task ends when it is sent."""
        self._replies.put_nowait(None)
        return self._sending

    def drop(self) -> None:
        self._sending.cancel()
        self._writer.close()

    async def _send_replies(self) -> None:
        with contextlib.suppress(OSError):
            while reply := await self._replies.get():
                self._writer.write(encode_reply(await asyncio.wrap_future(reply)))
                await self._writer.drain()
                self.waiting -= 1
                self._room.release()


def _refusal(sentence: str) -> Future[Reply]:
    refused: Future[Reply] = Future()
    refused.set_result(Reply(False, sentence))
    return refused


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.run.control_client import send

    with tempfile.TemporaryDirectory() as folder:
        server = ControlServer(Mailbox(), Path(folder) / "control.sock")
        print(send(server.path, "dance"))
        server.close()
    print("=== 自测通过 ===")
