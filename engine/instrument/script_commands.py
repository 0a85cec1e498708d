"""What a training script can do on a command, registered with the command server of its run.

The script passes the functions that save, probe, sample and evaluate; a command without its
function is refused. Where the script has several ranks, all of them call their function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

from lmm_tui.engine.instrument.rank_group import Leader
from lmm_tui.engine.run.command_server import Stop
from lmm_tui.engine.run.events import Kind
from lmm_tui.engine.run.run import Run
from lmm_tui.engine.run.samples import RunSample
from lmm_tui.errors import LmmError
from lmm_tui.message import Message
from lmm_tui.metrics.names import PROBE
from lmm_tui.metrics.values import measured


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
    """The commands of one script."""

    def __init__(
        self, run: Run, functions: ScriptFunctions, record: Callable[[Mapping[str, float]], None]
    ) -> None:
        """`record` adds numbers to the row of the current step."""
        self.leader: Leader | None = None
        """Set once the script has other ranks."""
        self._run = run
        self._functions = functions
        self._record = record
        commands = run.commands
        commands.unsupported = Message("this run is a script of its own; change it there")
        commands.on_stop(self._save_and_stop)
        commands.register("pause", lambda args: self.pause())
        commands.register("checkpoint", lambda args: self.checkpoint())
        commands.register("probe", lambda args: self._measure("probe", PROBE))
        commands.register("evaluate", lambda args: self._measure("evaluate", "val/"))
        commands.register("sample", self._sample, {"prompt": str})

    def pause(self) -> str:
        """Pause before the next step; raises ScriptCommandError if not all ranks would."""
        if self.leader and not self.leader.complete():
            raise ScriptCommandError(
                "not every rank reads run.should_stop; call lmm_run and read it on all of them"
            )
        return self._run.commands.pause()

    def checkpoint(self) -> str:
        """Call the script's save function; raises ScriptCommandError if it is missing or fails."""
        where = self._call("checkpoint")
        name = Message("saved") if where is None else str(where)
        self._run.events.write("checkpoint", name, step=self._run.step)
        return name

    def refuse_unmet(self) -> None:
        """Refuse what is pending: of several ranks, none has read `should_stop` yet."""
        self._run.commands.refuse_waiting(
            lambda request: Message(
                "{command}: with several ranks, commands take effect in "
                "run.should_stop; read it once a step, on every rank",
                command=request.command,
            )
        )

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

    def _save_and_stop(self, stop: Stop) -> None:
        """Save now, if the script can: the end comes when it reads `should_stop`."""
        stop.save &= self._functions.checkpoint is not None
        if stop.save:
            try:
                self.checkpoint()
                stop.saved = True
            except LmmError as error:
                stop.why_not = str(error)
        if self.leader:
            self.leader.stop()

    def _measure(self, name: Literal["probe", "evaluate"], prefix: str) -> str:
        found = self._call(name)
        if not isinstance(found, Mapping):
            raise ScriptCommandError(
                "the script's function gave no numbers by name: {found}", found=repr(found)
            )
        self._record({name if "/" in name else prefix + name: found[name] for name in found})
        sentence = measured({name: float(value) for name, value in found.items()}, ".3g")
        kind: Kind = "probe" if name == "probe" else "validation"
        self._run.events.write(kind, sentence, step=self._run.step)
        return sentence

    def _sample(self, args: dict[str, Any]) -> str:
        prompt = args.get("prompt", "")
        text = str(self._call("sample", prompt))
        self._run.add_sample(RunSample(self._run.step, prompt=prompt, text=text))
        self._run.events.write("sample", Message("1 sample"), step=self._run.step)
        return Message("1 sample written")


def _both(first: str, second: str) -> str:
    return Message("{first}; {second}", first=first, second=second)


if __name__ == "__main__":
    try:
        ScriptFunctions(sample=str.upper).call("probe")
    except ScriptCommandError as refused:
        print(refused)
    print("=== 自测通过 ===")
