"""CommandServer: does the commands that a run gets, each as its loop has registered it.

The loop calls `serve` (or `take` and `handle`) between two optimiser steps. A request is done,
written as an event and answered with what really happened; one that cannot be done says why and
changes nothing. `pause`, `resume` and `stop` are known to every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lmm_tui.engine.run.command_arguments import require
from lmm_tui.engine.run.control_mailbox import CommandError, Mailbox, Reply, Request
from lmm_tui.engine.run.events import EventLog
from lmm_tui.engine.run.status_writer import StatusWriter
from lmm_tui.errors import LmmError
from lmm_tui.message import Message

_POLL_S = 0.5
"""How often a paused run looks whether it has another reason to continue."""


@dataclass(frozen=True)
class Outcome:
    """What a command did, where that is more than a sentence."""

    message: str
    changes: Sequence[Mapping[str, Any]] = ()
    """Records of `SettingChange`, for the event."""
    data: dict[str, Any] = field(default_factory=dict)
    """For the reply."""


Handler: TypeAlias = Callable[[dict[str, Any]], "str | Outcome"]
"""From the arguments of a command to what was done, in a sentence."""


@dataclass(frozen=True)
class _Command:
    do: Handler
    arguments: Mapping[str, type] | None
    """None: the handler checks them."""
    is_query: bool
    must_end_whole: bool


@dataclass
class Stop:
    """A request to end the run; it is answered when the run has ended."""

    save: bool
    """Whether a checkpoint is wanted at the end."""
    saved: bool = False
    why_not: str = ""
    """Why there is no checkpoint, where that is known."""

    def reply(self, step: int) -> Reply:
        if self.save and not self.saved:
            why = (
                Message("stopped, but {error}", error=self.why_not)
                if self.why_not
                else Message("stopped, but the checkpoint could not be written")
            )
            return Reply(False, why, step)
        return Reply(
            True,
            Message("stopped with a checkpoint" if self.save else "stopped without a checkpoint"),
            step,
        )


class CommandServer:
    """Serves the mailbox of one run, in the thread of its loop."""

    def __init__(self, mailbox: Mailbox, events: EventLog, status: StatusWriter) -> None:
        self.mailbox = mailbox
        self.paused = False
        self.stop: Stop | None = None
        """The last request to stop."""
        self.unsupported = Message("this run does not take it")
        """The answer to a command that is not registered."""
        self._events = events
        self._status = status
        self._stops: list[tuple[Request, Stop]] = []
        self._on_stop: Callable[[Stop], object] = lambda stop: None
        self._commands: dict[str, _Command] = {}
        self.register("pause", lambda args: self.pause())
        self.register("resume", lambda args: self._resume())

    def register(
        self,
        name: str,
        do: Handler,
        arguments: Mapping[str, type] | None = None,
        *,
        checks_itself: bool = False,
        must_end_whole: bool = False,
    ) -> None:
        """Have `do` carry out a command, which takes `arguments` unless it `checks_itself`.

        An unexpected failure of one that `must_end_whole` ends the run: what it left is unknown.
        """
        kinds = None if checks_itself else arguments or {}
        self._commands[name] = _Command(do, kinds, False, must_end_whole)

    def register_query(self, name: str, do: Handler) -> None:
        """One that changes nothing and is asked often: it is answered, but is no event."""
        self._commands[name] = _Command(do, None, True, False)

    def on_stop(self, called: Callable[[Stop], object]) -> None:
        """Call it when a stop is requested."""
        self._on_stop = called

    def serve(self) -> None:
        """Carry out the commands that wait; while paused, wait for more."""
        while (request := self.take()) or self.paused:
            if request:
                self.handle(request)

    def take(self) -> Request | None:
        """The next request; while paused, waits a moment for one."""
        return self.mailbox.take(_POLL_S if self.paused else None)

    def handle(self, request: Request) -> None:
        """Carry out one command and answer it; a stop is answered by `close`."""
        command = self._commands.get(request.command)
        changes: Sequence[Mapping[str, Any]] = ()
        failed: Exception | None = None
        try:
            if request.command == "stop":
                self._stop(request)
                return
            if command is None:
                raise CommandError(self.unsupported)
            if command.arguments is not None:
                require(request.args, command.arguments)
            done = command.do(request.args)
            outcome = Outcome(done) if isinstance(done, str) else done
            changes = outcome.changes
            reply = Reply(True, outcome.message, self._step, outcome.data)
        except Exception as error:  # No command ends a run.
            failed = error
            reply = Reply(False, _failure(request.command, error), self._step)
        self._answer(request, reply, changes)
        expected = failed is None or isinstance(failed, LmmError | OSError)
        if failed is not None and not expected and command and command.must_end_whole:
            raise failed

    def pause(self) -> str:
        """Pause before the next step, until a `resume` command."""
        self.paused = True
        self._status.update(state="paused", eta_s=None)
        return Message("paused")

    def refuse_waiting(self, why: Callable[[Request], str], *, but_stop: bool = False) -> None:
        """Refuse what waits; with `but_stop` a request to stop is taken."""
        while request := self.mailbox.take():
            if but_stop and request.command == "stop":
                self.handle(request)
            else:
                request.answer(Reply(False, why(request), self._step))

    def close(self) -> None:
        """Answer the requests to stop, and refuse what waits and all that follows."""
        for request, stop in self._stops:
            request.answer(stop.reply(self._step))
        self.mailbox.close()
        self._commands.clear()  # They hold the model.
        self._on_stop = lambda stop: None

    @property
    def _step(self) -> int:
        return self._status.status.step

    def _answer(
        self, request: Request, reply: Reply, changes: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        command = self._commands.get(request.command)
        if command is None or not command.is_query:
            self._events.write_command(request, reply, changes)
        request.answer(reply)

    def _stop(self, request: Request) -> None:
        require(request.args, {"checkpoint": bool})
        self.stop = Stop(save=request.args.get("checkpoint", True))
        self.paused = False
        self._status.update(state="stopping")
        self._events.write_stop(request, self._step)
        self._stops.append((request, self.stop))
        self._on_stop(self.stop)

    def _resume(self) -> str:
        self.paused = False
        self._status.update(state="running")
        return Message("running")


def _failure(command: str, error: Exception) -> Message:
    is_known = isinstance(error, LmmError | OSError)
    return Message(
        "{command}: {error}" if is_known else "{command}: {kind}: {error}",
        command=command,
        kind=type(error).__name__,
        error=error,
    )


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.run.run_dir import RunDir
    from lmm_tui.engine.run.run_records import RunStatus

    with tempfile.TemporaryDirectory() as folder:
        place = RunDir(folder)
        beat = StatusWriter(place, RunStatus())
        server = CommandServer(Mailbox(), EventLog(place), beat)
        server.register("sample", lambda args: args["prompt"].upper(), {"prompt": str})
        asked = [server.mailbox.send(name, {"prompt": "abc"}) for name in ("sample", "probe")]
        server.serve()
        print(*(reply.result() for reply in asked), sep="\n")
        beat.close()
    print("=== 自测通过 ===")
