"""Control commands of a training script, carried out between its steps.

The script passes the functions that save, probe, sample and evaluate; a command without its
function is refused. Where the script has several ranks, all of them call their function.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

from lmm_tui.engine.instrument.rank_group import Leader
from lmm_tui.engine.run.command_arguments import require
from lmm_tui.engine.run.control_mailbox import Mailbox, Reply, Request
from lmm_tui.engine.run.events import EventLog, Kind
from lmm_tui.engine.run.jsonl_writer import JsonlWriter
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.status_writer import StatusWriter
from lmm_tui.errors import LmmError
from lmm_tui.message import Message
from lmm_tui.metrics.names import PROBE
from lmm_tui.metrics.values import measured

_POLL_S = 0.5


class ScriptCommandError(LmmError):
    """A command that the script does not support or that failed in it."""


@dataclass(frozen=True)
class ScriptFunctions:
    """The functions that a script provides for commands."""

    checkpoint: Callable[[], object] | None = None
    """Saves; its return value is displayed."""
    probe: Callable[[], Mapping[str, float]] | None = None
    evaluate: Callable[[], Mapping[str, float]] | None = None
    sample: Callable[[str], str] | None = None
    """Generates a text from a prompt."""

    def call(self, name: str, *args: Any) -> Any:
        """Raises ScriptCommandError if the function is missing or fails; training continues."""
        function = getattr(self, name)
        if function is None:
            raise ScriptCommandError(
                "the script has no function for it; pass {name}= to lmm_run", name=name
            )
        try:
            return function(*args)
        except Exception as error:
            raise ScriptCommandError(
                "the script's {name} failed ({error_name}: {error}); correct it there",
                name=name,
                error_name=type(error).__name__,
                error=error,
            ) from error


class ScriptCommands:
    """Serves the mailbox of one script, in the script's thread."""

    def __init__(
        self,
        functions: ScriptFunctions,
        mailbox: Mailbox,
        events: EventLog,
        status: StatusWriter,
        run_dir: RunDir,
        record: Callable[[Mapping[str, float]], None],
    ) -> None:
        """`record` adds numbers to the row of the current step."""
        self.stop_asked = False
        self.leader: Leader | None = None
        """Set once the script has other ranks."""
        self._functions = functions
        self._mailbox = mailbox
        self._events = events
        self._status = status
        self._samples = JsonlWriter(run_dir.samples)
        self._record = record
        self._paused = False
        self._stops: list[tuple[Request, Reply]] = []
        self._handlers: dict[str, Callable[[dict[str, Any]], str]] = {
            "pause": lambda args: self.hold(),
            "resume": lambda args: self._resume(),
            "checkpoint": lambda args: self.checkpoint(),
            "probe": lambda args: self._measure("probe", PROBE),
            "evaluate": lambda args: self._measure("evaluate", "val/"),
            "sample": self._sample,
        }

    def serve(self) -> None:
        """Carry out pending commands; block while paused."""
        while True:
            if request := self._mailbox.take(_POLL_S if self._paused else None):
                self._handle(request)
            elif not self._paused:
                return

    def refuse_unmet(self) -> None:
        """Refuse what is pending: of several ranks, none has read `should_stop` yet."""
        while request := self._mailbox.take():
            sentence = Message(
                "{command}: with several ranks, commands take effect in "
                "run.should_stop; read it once a step, on every rank",
                command=request.command,
            )
            self._answer(request, Reply(False, sentence, self._step))

    def hold(self) -> str:
        """Pause at the next `serve`; raises ScriptCommandError if not all ranks would."""
        if self.leader and not self.leader.complete():
            raise ScriptCommandError(
                "not every rank reads run.should_stop; call lmm_run and read it on all of them"
            )
        self._paused = True
        self._status.update(state="paused", eta_s=None)
        return Message("paused")

    def checkpoint(self) -> str:
        """Call the script's save function; raises ScriptCommandError if it is missing or fails."""
        where = self._call("checkpoint")
        name = Message("saved") if where is None else str(where)
        self._events.write("checkpoint", name, step=self._step)
        return name

    def close(self) -> None:
        """Answer the stop requests and refuse the pending ones; other ranks need not wait."""
        if self.leader:
            self.leader.end()
        for request, reply in self._stops:
            request.answer(reply)
        self._mailbox.close()
        self._samples.close()

    @property
    def _step(self) -> int:
        return self._status.status.step

    def _handle(self, request: Request) -> None:
        try:
            if request.command == "stop":
                require(request.args, {"checkpoint": bool})
                self._stop(request)
                return
            handler = self._handlers.get(request.command)
            if handler is None:
                raise ScriptCommandError("this run is a script of its own; change it there")
            require(request.args, {"prompt": str} if request.command == "sample" else {})
            reply = Reply(True, handler(request.args), self._step)
        except LmmError as error:
            reply = Reply(
                False,
                Message("{command}: {error}", command=request.command, error=error),
                self._step,
            )
        except Exception as error:  # No command ends the script.
            message = Message(
                "{command}: {name}: {error}",
                command=request.command,
                name=type(error).__name__,
                error=error,
            )
            reply = Reply(False, message, self._step)
        self._answer(request, reply)

    def _answer(self, request: Request, reply: Reply) -> None:
        self._events.write_command(request, reply)
        request.answer(reply)

    def _call(self, name: str, *args: str) -> Any:
        """Call the script's function, on all ranks; raises ScriptCommandError if one fails."""
        if self.leader is None or getattr(self._functions, name) is None:
            return self._functions.call(name, *args)
        self.leader.call(name, [*args])
        result: Any = None
        failures: list[str] = []
        try:
            result = self._functions.call(name, *args)
        except ScriptCommandError as error:
            failures = [Message("rank {rank}: {failure}", rank=0, failure=error)]
        if failures := failures + self.leader.failures():
            raise ScriptCommandError(reduce(_both, failures))
        return result

    def _stop(self, request: Request) -> None:
        """Request the end; the answer is sent by `close`, when the script has stopped."""
        self.stop_asked = True
        self._paused = False
        self._status.update(state="stopping")
        reply = Reply(True, Message("stopped without a checkpoint"), self._step)
        if request.args.get("checkpoint", True) and self._functions.checkpoint:
            try:
                self.checkpoint()
                reply = Reply(True, Message("stopped with a checkpoint"), self._step)
            except LmmError as error:
                reply = Reply(False, Message("stopped, but {error}", error=error), self._step)
        if self.leader:
            self.leader.stop()
        self._events.write("command", "stop", step=self._step, args=request.args)
        self._stops.append((request, reply))

    def _resume(self) -> str:
        self._paused = False
        self._status.update(state="running")
        return Message("running")

    def _measure(self, name: Literal["probe", "evaluate"], prefix: str) -> str:
        found = self._call(name)
        if not isinstance(found, Mapping):
            raise ScriptCommandError(
                "the script's function gave no numbers by name: {found}", found=repr(found)
            )
        self._record({name if "/" in name else prefix + name: found[name] for name in found})
        sentence = measured({name: float(value) for name, value in found.items()}, ".3g")
        kind: Kind = "probe" if name == "probe" else "eval"
        self._events.write(kind, sentence, step=self._step)
        return sentence

    def _sample(self, args: dict[str, Any]) -> str:
        prompt = args.get("prompt", "")
        text = str(self._call("sample", prompt))
        self._samples.write(
            {"time": round(time.time(), 3), "step": self._step, "kind": "sample"}
            | {"prompt": prompt, "text": text}
        )
        self._events.write("sample", Message("1 sample"), step=self._step)
        return Message("1 sample written")


def _both(first: str, second: str) -> str:
    return Message("{first}; {second}", first=first, second=second)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        place, box = RunDir(folder), Mailbox()
        log, beat = EventLog(place), StatusWriter(place, place.read_status())
        commands = ScriptCommands(ScriptFunctions(sample=str.upper), box, log, beat, place, print)
        asked = box.send("sample", {"prompt": "abc"})
        commands.serve()
        print(asked.result())
        beat.close()
    print("=== 自测通过 ===")
