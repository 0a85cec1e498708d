"""Does the commands that a run gets while it trains, and answers each.

Requests are taken from the mailbox between optimiser steps, done, written as events and answered
with what really happened. A command that cannot be done says why and changes nothing. Queries
(`talk`, `read`) change nothing and are many: they are answered, but are no events.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lmm_tui.engine.generation.sampling_options import sampling
from lmm_tui.engine.run.command_arguments import require
from lmm_tui.engine.run.control_mailbox import CommandError, Mailbox, Reply, Request
from lmm_tui.engine.run.setting_changes import SettingChange
from lmm_tui.engine.training.checkpointing import Checkpointer
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.evaluations import Evaluations
from lmm_tui.engine.training.live_model import LiveModel
from lmm_tui.engine.training.rollback import Rollback
from lmm_tui.engine.training.setting_changer import SettingChanger
from lmm_tui.engine.training.stop_request import StopRequested
from lmm_tui.errors import LmmError
from lmm_tui.message import Message

SETTINGS = {
    "lr": "optim.lr",
    "clip": "optim.clip",
    "log_every": "log.every",
    "val_every": "log.val_every",
    "probe_every": "log.probe_every",
    "sample_every": "log.sample_every",
    "checkpoint_every": "log.checkpoint_every",
}
"""What `set` can change in a live run, and the configuration key behind it."""

Handler = Callable[[dict[str, Any]], str]
"""From the arguments of a command to a sentence that says what was done."""
Query = Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]
"""From arguments to a sentence for people and data for programs."""

_TASK = re.compile(r"\w[\w.:+-]*")


_ARGUMENTS: dict[str, dict[str, type]] = {
    "pause": {},
    "resume": {},
    "probe": {},
    "stop": {"checkpoint": bool},
    "checkpoint": {"pin": bool},
    "evaluate": {"tasks": str},
    "sample": {"prompt": str, "max_tokens": float, "temperature": float, "top_p": float},
    "rollback": {"before": float},
}
"""What each command takes; the bounds of numbers are those of the configuration."""


def refuse_until_ready(mailbox: Mailbox, activity: str) -> None:
    """Answer commands while the run is being set up: only `stop` is possible then."""
    while request := mailbox.take():
        if request.command == "stop":
            raise StopRequested(request, save=False)
        request.answer(
            Reply(False, Message("still starting ({activity}); try again soon", activity=activity))
        )


class Commands:
    """Serves the mailbox of one run."""

    def __init__(
        self,
        context: TrainContext,
        *,
        settings: SettingChanger,
        flush: Callable[[], None],
        checkpoints: Checkpointer,
        rollback: Rollback,
        live: LiveModel,
        evaluations: Evaluations,
    ) -> None:
        """`flush` reads the numbers of the last step."""
        self._context = context
        self._settings = settings
        self._changes: list[SettingChange] = []
        """Made by the command in progress."""
        self._flush = flush
        self._checkpoints = checkpoints
        self._rollback = rollback
        self._live = live
        self._evaluations = evaluations
        self._paused = False
        self._handlers: dict[str, Handler] = {
            "pause": self._pause,
            "resume": self._resume,
            "checkpoint": self._checkpoint,
            "probe": self._probe,
            "sample": self._sample,
            "evaluate": self._validate_or_evaluate,
            "set": self._set,
            "rollback": self._roll_back,
        }
        self._queries: dict[str, Query] = {"talk": live.talk, "read": live.read}

    def serve(self) -> None:
        """Do the commands that wait; while paused, wait for more. Raises StopRequested."""
        while True:
            if request := self._context.host.mailbox.take(0.5 if self._paused else None):
                self._handle(request)
            elif not self._paused:
                return

    def pause(self) -> None:
        """Pause before the next step, until a `resume` command."""
        self._paused = True
        self._flush()
        self._context.status.update(state="paused", eta_s=None)

    def _handle(self, request: Request) -> None:
        context = self._context
        step = context.step
        if query := self._queries.get(request.command):
            request.answer(self._answer(query, request))
            return
        failed: Exception | None = None
        try:
            if request.command != "set":
                require(request.args, _ARGUMENTS[request.command])
            if request.command == "stop":
                context.events.write("command", "stop", step=step, args=request.args)
                raise StopRequested(request, save=request.args.get("checkpoint", True))
            reply = Reply(True, self._handlers[request.command](request.args), step)
        except StopRequested:
            raise
        except Exception as error:  # No command ends a run.
            failed = error
            reply = _failure(request, error, step)
        changes, self._changes = [change.record() for change in self._changes], []
        context.events.write_command(request, reply, changes)
        request.answer(reply)
        half_done = failed is not None and not isinstance(failed, LmmError | OSError)
        if failed is not None and half_done and request.command == "rollback":
            raise failed  # The weights may be neither those before nor those after.

    def _answer(self, query: Query, request: Request) -> Reply:
        step = self._context.step
        try:
            sentence, data = query(request.args)
        except Exception as error:
            return _failure(request, error, step)
        return Reply(True, sentence, step, data)

    def _pause(self, args: dict[str, Any]) -> str:
        self.pause()
        return Message("paused")

    def _resume(self, args: dict[str, Any]) -> str:
        self._paused = False
        self._context.status.update(state="running")
        return Message("running")

    def _checkpoint(self, args: dict[str, Any]) -> str:
        pinned = args.get("pin", False)
        return Message(
            "checkpoint {save}, kept for good" if pinned else "checkpoint {save}",
            save=self._checkpoints.save(pinned),
        )

    def _probe(self, args: dict[str, Any]) -> str:
        return Message("probed: {probe}", probe=self._live.probe())

    def _sample(self, args: dict[str, Any]) -> str:
        rest = {name: value for name, value in args.items() if name != "prompt"}
        options = sampling(rest, self._context.config, "prompt")
        if "prompt" in args:
            options["prompt"] = args["prompt"]
        count = len(self._live.sample(**options))
        return Message(
            "{count} sample written" if count == 1 else "{count} samples written", count=count
        )

    def _validate_or_evaluate(self, args: dict[str, Any]) -> str:
        """Without `tasks`: measure the validation loss. With `tasks=a,b`: start lm-eval on them."""
        tasks = args.get("tasks")
        if tasks is None:
            return self._live.validate()
        names = [name.strip() for name in tasks.split(",")]
        for name in names:
            if not _TASK.fullmatch(name):
                raise CommandError("{name!r} is no name of an lm-eval task", name=name)
        return self._evaluations.start(names)

    def _roll_back(self, args: dict[str, Any]) -> str:
        """Continue from an earlier checkpoint with the data that comes next."""
        before = args.get("before")
        if not (before is None or (type(before) is int and before > 0)):
            raise CommandError("it takes before=STEP, the step to go back behind, or nothing")
        return self._rollback.roll_back_and_save(before)

    def _set(self, args: dict[str, Any]) -> str:
        if not args:
            raise CommandError("nothing to set; it takes {settings}", settings=[*SETTINGS])
        for name in args.keys() - SETTINGS.keys():
            raise CommandError(
                "unknown setting {name}; it takes {settings}", name=name, settings=[*SETTINGS]
            )
        require(args, dict.fromkeys(SETTINGS, float))
        values = {SETTINGS[name]: value for name, value in args.items()}
        self._changes, sentence = self._settings.change(values)
        return sentence


def _failure(request: Request, error: Exception, step: int) -> Reply:
    is_known = isinstance(error, LmmError | OSError)
    why = Message(
        "{command}: {error}" if is_known else "{command}: {kind}: {error}",
        command=request.command,
        kind=type(error).__name__,
        error=error,
    )
    return Reply(False, why, step)


if __name__ == "__main__":
    box = Mailbox()
    refused = box.send("pause")
    refuse_until_ready(box, "loading data")
    print(refused.result())
    assert not refused.result().ok
    print("=== 自测通过 ===")
