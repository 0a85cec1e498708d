"""The control mailbox: commands to a running loop, each answered with what it did.

The loop takes requests between optimiser steps. Senders are threads of this process: the cockpit,
or the control server on behalf of its clients. The mailbox does not interpret commands.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from lmm_tui.errors import LmmError
from lmm_tui.message import Message

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


class CommandError(LmmError):
    """A command with invalid arguments."""


@dataclass(frozen=True)
class Reply:
    """The result of a command; it took effect after optimiser step `step`."""

    ok: bool
    message: str
    step: int = 0
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class Request:
    """A command for the loop, which must answer it."""

    command: str
    args: dict[str, Any]
    by: str = ""
    """Who asked, as for an agent; empty for the person at the keyboard."""
    reply: Future[Reply] = field(default_factory=Future)

    def __reduce__(self) -> tuple[Any, ...]:
        """For the other ranks of a run, which do it too; only this one is answered."""
        return Request, (self.command, self.args, self.by)

    def answer(self, reply: Reply) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)


class Mailbox:
    """A thread-safe queue of requests with one consumer, the training loop."""

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._closed = threading.Event()

    def send(
        self, command: str, args: Mapping[str, Any] | None = None, by: str = ""
    ) -> Future[Reply]:
        """Post a command; the future resolves to the loop's Reply."""
        request = Request(command, dict(args or {}), by)
        if command not in COMMANDS:
            request.answer(
                Reply(
                    False,
                    Message(
                        "unknown command {command!r}; choose from {commands}",
                        command=command,
                        commands=[*COMMANDS],
                    ),
                )
            )
        elif self._closed.is_set():
            request.answer(Reply(False, Message("the run has ended")))
        else:
            self._requests.put(request)
            # `close` may have drained the queue between the check and the put.
            if self._closed.is_set():
                self.close()
        return request.reply

    def take(self, timeout_s: float | None = None) -> Request | None:
        """The next request, or None; with `timeout_s`, waits up to that long for one."""
        try:
            if timeout_s is None:
                return self._requests.get_nowait()
            return self._requests.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Refuse all pending and later requests: the run has ended."""
        self._closed.set()
        while request := self.take():
            request.answer(Reply(False, Message("the run has ended")))


if __name__ == "__main__":
    box = Mailbox()
    answer = box.send("set", {"lr": 1e-4})
    if request := box.take():
        request.answer(Reply(True, f"{request.command} {request.args}", step=7))
    print(answer.result())
    print("=== 自测通过 ===")
