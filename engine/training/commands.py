"""What each command does to the training loop, and the answer it gets.

Requests are taken between optimiser steps, done, written as events and acknowledged with what
really happened. A command that cannot be done says why and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from lmm_tui.engine.config.options import lookup
from lmm_tui.engine.config.resolve import check
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.generation.sampling_options import sampling
from lmm_tui.engine.run.control_mailbox import CommandError, Mailbox, Reply, Request
from lmm_tui.engine.run.events import EventLog
from lmm_tui.errors import LmmError

SETTINGS = {
    "lr": "optim.lr",
    "clip": "optim.clip",
    "log_every": "log.every",
    "val_every": "log.val_every",
    "probe_every": "log.probe_every",
    "sample_every": "log.sample_every",
    "checkpoint_every": "log.checkpoint_every",
}
"""What `set` can change while a run is going, and the configuration key behind it."""

Question = Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]
"""From arguments to words for a person and data for a program."""

_TASK = re.compile(r"\w[\w.:+-]*")


class SteeredLoop(Protocol):
    """A loop as its commands see it; `engine.training.loop.Trainer` says what each does."""

    config: RunConfig
    step: int

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def save(self, pinned: bool = False) -> str: ...
    def validate(self) -> str: ...
    def evaluate(self, tasks: tuple[str, ...] = ()) -> str: ...
    def probe(self) -> str: ...
    def sample(self, **options: Any) -> list[str]: ...
    def talk(self, args: dict[str, Any]) -> tuple[str, dict[str, Any]]: ...
    def read(self, args: dict[str, Any]) -> tuple[str, dict[str, Any]]: ...
    def roll_back(self, before: int | None) -> str: ...
    def change(self, config: RunConfig) -> None: ...


class StopRequested(Exception):
    """Unwinds the loop at a step boundary; the request is answered once the run has ended."""

    def __init__(self, request: Request, save: bool) -> None:
        super().__init__("stop")
        self.request = request
        self.save = save
        self.saved = False

    def reply(self, step: int) -> Reply:
        if self.save and not self.saved:
            return Reply(False, "stopped, but the checkpoint could not be written", step)
        return Reply(True, f"stopped {'with' if self.save else 'without'} a checkpoint", step)


class Commands:
    """Serves one loop's mailbox."""

    def __init__(self, trainer: SteeredLoop, mailbox: Mailbox, events: EventLog) -> None:
        self._trainer = trainer
        self._mailbox = mailbox
        self._events = events
        self._paused = False
        self._handlers: dict[str, Callable[[dict[str, Any]], str]] = {
            "pause": self._pause,
            "resume": self._resume,
            "checkpoint": self._checkpoint,
            "probe": lambda args: f"probed: {trainer.probe()}",
            "sample": self._sample,
            "evaluate": self._evaluate,
            "set": self._set,
            "rollback": self._rollback,
        }
        self._questions = {"talk": trainer.talk, "read": trainer.read}

    def serve(self) -> None:
        """Do what waits; while paused, stay here. Raises StopRequested."""
        while True:
            if request := self._mailbox.take(0.5 if self._paused else None):
                self._do(request)
            elif not self._paused:
                return

    def hold(self) -> None:
        """Pause as if asked to."""
        self._pause({})

    def refuse_until_ready(self, activity: str) -> None:
        """Called while the run is being set up: only `stop` is possible then."""
        while request := self._mailbox.take():
            if request.command == "stop":
                raise StopRequested(request, save=False)
            request.answer(Reply(False, f"still starting ({activity}); try again soon"))

    def _do(self, request: Request) -> None:
        step = self._trainer.step
        if request.command == "stop":
            self._events.write("command", "stop", step=step, args=request.args)
            raise StopRequested(request, save=bool(request.args.get("checkpoint", True)))
        if ask := self._questions.get(request.command):
            request.answer(self._told(ask, request))
            return
        try:
            reply = Reply(True, self._handlers[request.command](request.args), step)
        except (LmmError, OSError) as error:
            reply = Reply(False, f"{request.command}: {error}", step)
        self._events.write_command(request, reply)
        request.answer(reply)

    def _told(self, ask: Question, request: Request) -> Reply:
        """A question changes nothing and comes by the dozen: it is no event."""
        step = self._trainer.step
        try:
            words, data = ask(request.args)
        except LmmError as error:
            return Reply(False, f"{request.command}: {error}", step)
        return Reply(True, words, step, data)

    def _pause(self, args: dict[str, Any]) -> str:
        self._paused = True
        self._trainer.pause()
        return "paused"

    def _resume(self, args: dict[str, Any]) -> str:
        self._paused = False
        self._trainer.resume()
        return "running"

    def _checkpoint(self, args: dict[str, Any]) -> str:
        pinned = args.get("pin", False) is True
        return f"checkpoint {self._trainer.save(pinned)}{', kept for good' if pinned else ''}"

    def _sample(self, args: dict[str, Any]) -> str:
        rest = {name: value for name, value in args.items() if name != "prompt"}
        options = sampling(rest, self._trainer.config, "prompt")
        if "prompt" in args:
            options["prompt"] = str(args["prompt"])
        count = len(self._trainer.sample(**options))
        return f"{count} sample{'' if count == 1 else 's'} written"

    def _evaluate(self, args: dict[str, Any]) -> str:
        """On held-out data now; with `tasks=a,b` by lm-eval, beside the training."""
        tasks = args.get("tasks")
        if tasks is None:
            return self._trainer.validate()
        names = tuple(filter(None, str(tasks).split(",")))
        for name in names:
            if not _TASK.fullmatch(name):
                raise CommandError(f"{name!r} is no name of an lm-eval task")
        return self._trainer.evaluate(names)

    def _rollback(self, args: dict[str, Any]) -> str:
        """Go on from an earlier checkpoint with the data that comes next."""
        before = args.get("before")
        if set(args) - {"before"} or not (before is None or (type(before) is int and before > 0)):
            raise CommandError("it takes before=STEP, the step to go back behind, or nothing")
        return self._trainer.roll_back(before)

    def _set(self, args: dict[str, Any]) -> str:
        config = self._trainer.config
        if not args:
            raise CommandError(f"nothing to set; it takes {', '.join(SETTINGS)}")
        changes = []
        for name, value in args.items():
            if name not in SETTINGS:
                raise CommandError(f"unknown setting {name}; it takes {', '.join(SETTINGS)}")
            key = SETTINGS[name]
            before = lookup(config, key)
            config = check(key, value, config)
            changes.append(f"{name} {before:g} → {lookup(config, key):g}")
        self._trainer.change(config)
        return ", ".join(changes)


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.config.resolve import resolve
    from lmm_tui.engine.run.run_dir import RunDir

    class Recorder:
        step = 4
        config = resolve().completed()

        def change(self, config: object) -> None:
            self.config = config  # type: ignore[assignment]

        def save(self, pinned: bool) -> str:
            return "step-000000004"

        def pause(self) -> None: ...

        def talk(self, args: object) -> None: ...

        def read(self, args: object) -> None: ...

    with tempfile.TemporaryDirectory() as folder:
        box = Mailbox()
        log = EventLog(RunDir(folder))
        commands = Commands(Recorder(), box, log)  # type: ignore[arg-type]
        sent = [
            box.send("set", {"lr": 1e-4, "clip": 0.5}),
            box.send("set", {"lr": -1}),
            box.send("checkpoint"),
            box.send("stop"),
        ]
        try:
            commands.serve()
        except StopRequested as stop:
            stop.request.answer(stop.reply(4))
        for answer in sent:
            print(answer.result())
        log.close()
    print("=== 自测通过 ===")
