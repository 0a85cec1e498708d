"""Evaluation of a run's checkpoints with lm-eval, in a process beside the training."""

from __future__ import annotations

from collections.abc import Sequence

from lmm_tui.engine.evaluation.background import BackgroundEvaluation
from lmm_tui.engine.evaluation.job import Job
from lmm_tui.engine.evaluation.records import Record
from lmm_tui.engine.training.checkpointing import Checkpointer
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.message import Message

_PATIENCE_S = 3600.0
"""How long a finished run waits for lm-eval; a stopped one does not wait."""


class Evaluations:
    """At most one evaluation at a time; `close` it."""

    def __init__(self, context: TrainContext, checkpoints: Checkpointer) -> None:
        config = context.config
        self._context = context
        self._checkpoints = checkpoints
        self._background = BackgroundEvaluation(
            context.run_dir,
            Job(
                model="",
                tasks=tuple(config.eval.tasks),
                device=config.device,
                limit=config.eval.limit,
                chat=context.stage.is_chat,
                data_dir=config.eval.data_dir,
            ),
        )

    def start(self, tasks: Sequence[str] = ()) -> str:
        """Save, and evaluate that checkpoint on `tasks`, else on those of the configuration.

        Returns what began, in a sentence. Raises CheckpointError.
        """
        context = self._context
        name = self._checkpoints.save()
        tasks = tuple(tasks) or tuple(context.config.eval.tasks)
        path = context.run_dir.checkpoints / name
        if not context.ranks.by_leader(lambda: self._background.start(path, tasks)):
            return Message("{name} is not evaluated: the one before still is", name=name)
        return Message("evaluating {name} on {tasks}", name=name, tasks=[*tasks])

    def start_scheduled(self) -> None:
        """The same, as an event."""
        text = self.start()
        self._context.events.write("eval", text, step=self._context.step)

    def report(self) -> None:
        """Write what ended since the last call as events."""
        context = self._context
        for ended in self._background.collect():
            if isinstance(ended, Record):
                context.events.write("eval", ended.sentence, step=context.step, of_step=ended.step)
            else:
                text = Message("not evaluated: {ended}", ended=ended)
                context.events.write("alert", text, step=context.step, level="warning")

    def close(self) -> None:
        """Let a finished run's evaluation end, cancel that of a stopped run, and report."""
        context = self._context
        finished = context.done
        with context.activity(Message("waiting for the evaluation")):
            self._background.close(_PATIENCE_S if finished else 0.0)
        self.report()


if __name__ == "__main__":
    from types import SimpleNamespace
    from typing import Any

    context: Any = SimpleNamespace(step=5)
    context.events = SimpleNamespace(write=lambda kind, text, **about: print(kind, text))
    demo: Any = SimpleNamespace(_context=context)
    demo._background = SimpleNamespace(collect=lambda: ["no such task"])
    Evaluations.report(demo)
    print("=== 自测通过 ===")
