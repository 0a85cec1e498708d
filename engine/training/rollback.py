"""Goes back to the weights of an earlier checkpoint, and continues with the data that comes next.

There are two ways. The `rollback` command takes a checkpoint from before a given step and saves
the result, so that a resume starts from there; the learning rate stays. An automatic rollback,
after a non-finite step or a health alert, takes the last checkpoint from before the loss was bad,
lowers the learning rate and saves nothing.
"""

from __future__ import annotations

from pathlib import Path

from lmm_tui.engine.checkpoints import checkpoint_files as files
from lmm_tui.engine.checkpoints.checkpoint_files import CheckpointError
from lmm_tui.engine.training.checkpointing import Checkpointer
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.restore import load_checkpoint
from lmm_tui.engine.training.step_reader import StepReader
from lmm_tui.message import Message


class Rollback:
    """Changes weights, optimisers and, where automatic, the learning rate."""

    def __init__(
        self, context: TrainContext, checkpoints: Checkpointer, reader: StepReader
    ) -> None:
        self._context = context
        self._checkpoints = checkpoints
        self._reader = reader

    def roll_back_and_save(self, before: int | None) -> str:
        """Go back to a checkpoint from before step `before`, in words; raises CheckpointError."""
        context, saver = self._context, self._checkpoints.saver
        self._reader.flush()
        path = self._restore_weights(before)
        if path is None:
            raise CheckpointError(
                "there is no intact checkpoint to go back to"
                if before is None
                else "there is no intact checkpoint from before step {before} to go back to",
                before=before,
            )

        def set_aside() -> None:
            if saver.has(context.step):  # With the weights that were just left.
                files.set_aside(saver.wait())
                saver.forget()

        context.ranks.by_leader(set_aside)
        self._checkpoints.begin()
        return Message(
            "restored {name}; continuing with the data after step {step}",
            name=path.name,
            step=context.step,
        )

    def roll_back_and_lower_lr(self, before: int | None) -> str:
        """Go back to the newest checkpoint from before a step, None: of all, with a lower LR."""
        context = self._context
        context.rolled_back = True
        path = self._restore_weights(before)
        if path is None:
            return Message(
                "no checkpoint to roll back to yet"
                if before is None
                else "no checkpoint from before step {before} to roll back to",
                before=before,
            )
        context.lr_scale *= context.config.train.rollback_lr_factor
        return Message(
            "restored {name}, learning rate x {lr_scale:g}",
            name=path.name,
            lr_scale=context.lr_scale,
        )

    def _restore_weights(self, before: int | None) -> Path | None:
        """Those of the newest intact checkpoint, with the optimisers; None if there is none."""
        context = self._context

        def newest() -> Path | None:
            self._checkpoints.saver.settle()
            return files.newest_intact(context.run_dir.checkpoints, before=before)[0]

        path = context.ranks.by_leader(newest)
        if path is not None:
            with context.activity(Message("rolling back to {name}", name=path.name)):
                load_checkpoint(context, path)
        return path


if __name__ == "__main__":
    from types import SimpleNamespace
    from typing import Any

    from lmm_tui.engine.parallel.ranks import Ranks

    context: Any = SimpleNamespace(run_dir=SimpleNamespace(checkpoints=Path("none")), ranks=Ranks())
    parts: Any = SimpleNamespace(saver=SimpleNamespace(settle=lambda: None))
    print(Rollback(context, parts, parts).roll_back_and_lower_lr(None))
    print("=== 自测通过 ===")
