"""Control commands of a training script, carried out between its steps.

The script passes the functions that save, probe, sample and evaluate; a command without its
function is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lmm_tui.engine.run.command_arguments import require
from lmm_tui.engine.run.control_mailbox import Mailbox, Reply, Request
from lmm_tui.engine.run.events import EventLog, Kind
from lmm_tui.engine.run.jsonl_writer import JsonlWriter
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.status_writer import StatusWriter
from lmm_tui.errors import LmmError
from lmm_tui.metrics.names import PROBE

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
            "probe": lambda args: self._measure("probe", functions.probe, PROBE),
            "evaluate": lambda args: self._measure("eval", functions.evaluate, "val/"),
            "sample": self._sample,
        }

    def serve(self) -> None:
        """Carry out pending commands; block while paused."""
        while True:
            if request := self._mailbox.take(_POLL_S if self._paused else None):
                self._handle(request)
            elif not self._paused:
                return

    def hold(self) -> str:
        """Pause at the next `serve`."""
        self._paused = True
        self._status.update(state="paused", eta_s=None)
        return "paused"

    def checkpoint(self) -> str:
        """Call the script's save function; raises ScriptCommandError if it is missing or fails."""
        save = _required("checkpoint", self._functions.checkpoint)
        where = _call("checkpoint", save)
        name = "saved" if where is None else str(where)
        self._events.write("checkpoint", name, step=self._step)
        return name

    def close(self) -> None:
        """Answer the stop requests and refuse the pending ones."""
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
            reply = Reply(False, f"{request.command}: {error}", self._step)
        except Exception as error:  # No command ends the script.
            message = f"{request.command}: {type(error).__name__}: {error}"
            reply = Reply(False, message, self._step)
        self._events.write_command(request, reply)
        request.answer(reply)

    def _stop(self, request: Request) -> None:
        """Request the end; the answer is sent by `close`, when the script has stopped."""
        self.stop_asked = True
        self._paused = False
        self._status.update(state="stopping")
        reply = Reply(True, "stopped without a checkpoint", self._step)
        if request.args.get("checkpoint", True) and self._functions.checkpoint:
            try:
                self.checkpoint()
                reply = Reply(True, "stopped with a checkpoint", self._step)
            except LmmError as error:
                reply = Reply(False, f"stopped, but {error}", self._step)
        self._events.write("command", "stop", step=self._step, args=request.args)
        self._stops.append((request, reply))

    def _resume(self) -> str:
        self._paused = False
        self._status.update(state="running")
        return "running"

    def _measure(
        self, kind: Kind, function: Callable[[], Mapping[str, float]] | None, prefix: str
    ) -> str:
        found = _call(kind, _required(kind, function))
        if not isinstance(found, Mapping):
            raise ScriptCommandError(f"the script's function gave no numbers by name: {found!r}")
        self._record({name if "/" in name else prefix + name: found[name] for name in found})
        sentence = ", ".join(f"{name} {float(value):.3g}" for name, value in found.items())
        self._events.write(kind, sentence, step=self._step)
        return sentence

    def _sample(self, args: dict[str, Any]) -> str:
        prompt = args.get("prompt", "")
        sample = _required("sample", self._functions.sample)
        text = str(_call("sample", lambda: sample(prompt)))
        self._samples.write(
            {"time": round(time.time(), 3), "step": self._step, "kind": "sample"}
            | {"prompt": prompt, "text": text}
        )
        self._events.write("sample", "1 sample", step=self._step)
        return "1 sample written"


def _required(name: str, function: Any) -> Any:
    if function is None:
        raise ScriptCommandError(f"the script has no function for it; pass {name}= to lmm_run")
    return function


def _call(name: str, function: Callable[[], Any]) -> Any:
    """Any exception of the script's function becomes a refusal: training continues."""
    try:
        return function()
    except Exception as error:
        raise ScriptCommandError(
            f"the script's {name} failed ({type(error).__name__}: {error}); correct it there"
        ) from error


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
