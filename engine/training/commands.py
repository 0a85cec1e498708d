"""What our own loop can do on a command, registered with the command server of its run.

Queries (`talk`, `read`) change nothing and are many: they are answered, but are no events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lmm_tui.engine.generation.sampling_options import sampling
from lmm_tui.engine.run.command_arguments import require
from lmm_tui.engine.run.command_server import Outcome, Stop
from lmm_tui.engine.run.control_mailbox import CommandError, Request
from lmm_tui.engine.training.checkpointing import Checkpointer
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.evaluations import Evaluations
from lmm_tui.engine.training.live_model import LiveModel
from lmm_tui.engine.training.rollback import Rollback
from lmm_tui.engine.training.setting_changer import SettingChanger
from lmm_tui.engine.training.step_reader import StepReader
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

_PROMPTS = ("add_prompt", "drop_prompt")
"""What `set` changes in the prompts of samples."""

_TASK = re.compile(r"\w[\w.:+-]*")


class StopRequested(Exception):
    """Unwinds the loop at a step boundary; the request is answered once the run has ended."""

    def __init__(self, request: Stop) -> None:
        super().__init__("stop")
        self.request = request


class TrainingCommands:
    """Takes the commands of one run before each step; may change all that training depends on."""

    is_for_leader = True

    def __init__(
        self,
        context: TrainContext,
        reader: StepReader,
        settings: SettingChanger,
        checkpoints: Checkpointer,
        rollback: Rollback,
        live: LiveModel,
        evaluations: Evaluations,
    ) -> None:
        self._context = context
        self._reader = reader
        self._settings = settings
        self._checkpoints = checkpoints
        self._rollback = rollback
        self._live = live
        self._evaluations = evaluations
        self._server = server = context.run.commands
        register = server.register
        register("checkpoint", self._checkpoint, {"pin": bool})
        register("probe", self._probe)
        register("evaluate", self._validate_or_evaluate, {"tasks": str})
        register("rollback", self._roll_back, {"before": float}, must_end_whole=True)
        register("set", self._set, checks_itself=True)
        # The bounds of numbers are those of the configuration.
        numbers = dict.fromkeys(("max_tokens", "temperature", "top_p"), float)
        register("sample", self._sample, {"prompt": str, **numbers})
        server.register_query("talk", self._talk)
        server.register_query("read", self._read)

    def decide(self) -> Request | str | None:
        """A request, or that the run is paused; nothing after the last step."""
        if self._context.done:
            return None
        if not self._server.paused:
            return self._server.take()
        with self._context.budget.excluded():
            return self._server.take() or "paused"

    def act(self, due: Request | str) -> None:
        """Raises StopRequested."""
        if isinstance(due, Request):
            self._server.handle(due)
        if self._server.paused:
            self._reader.flush()
            self._context.ranks.beats.phase("paused")
        if self._server.stop:
            raise StopRequested(self._server.stop)

    def _checkpoint(self, args: dict[str, Any]) -> str:
        pinned = args.get("pin", False)
        return Message(
            "checkpoint {save}, pinned" if pinned else "checkpoint {save}",
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

    def _set(self, args: dict[str, Any]) -> Outcome:
        if not args:
            raise CommandError("nothing to set; it takes {settings}", settings=[*SETTINGS])
        args, values = self._without_prompts(args)
        for name in args.keys() - SETTINGS.keys():
            raise CommandError(
                "unknown setting {name}; it takes {settings}", name=name, settings=[*SETTINGS]
            )
        require(args, dict.fromkeys(SETTINGS, float))
        values |= {SETTINGS[name]: value for name, value in args.items()}
        changes, sentence = self._settings.change(values)
        return Outcome(sentence, changes=[change.record() for change in changes])

    def _without_prompts(self, args: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The other arguments of `set`, and the prompts of samples with one more or one less."""
        require(
            {name: args[name] for name in _PROMPTS if name in args}, dict.fromkeys(_PROMPTS, str)
        )
        prompts = [*(self._context.config.log.prompts or self._context.stage.prompts)]
        before = list(prompts)
        if text := args.get("add_prompt"):
            prompts += [text] if text not in prompts else []
        if text := args.get("drop_prompt"):
            if text not in prompts:
                raise CommandError("{text!r} is not among the prompts of samples", text=text)
            if len(prompts) == 1:
                raise CommandError("the last prompt stays; add another one first")
            prompts.remove(text)
        others = {name: value for name, value in args.items() if name not in _PROMPTS}
        return others, {"log.prompts": prompts} if prompts != before else {}

    def _talk(self, args: dict[str, Any]) -> Outcome:
        sentence, data = self._live.talk(args)
        return Outcome(sentence, data=data)

    def _read(self, args: dict[str, Any]) -> Outcome:
        sentence, data = self._live.read(args)
        return Outcome(sentence, data=data)


if __name__ == "__main__":
    print(*SETTINGS, bool(_TASK.fullmatch("arc_easy")))
    print("=== 自测通过 ===")
