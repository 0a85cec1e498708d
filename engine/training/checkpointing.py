"""When and how the loop writes checkpoints: copied between steps, written in the background.

Files and retention are `engine.checkpoints`; going back to a checkpoint is `restore` and
`rollback`.
"""

from __future__ import annotations

from pathlib import Path

from lmm_tui.engine.checkpoints import checkpoint_files as files
from lmm_tui.engine.checkpoints.background_saver import BackgroundSaver
from lmm_tui.engine.checkpoints.checkpoint import CheckpointState, Snapshot
from lmm_tui.engine.checkpoints.checkpoint_files import CheckpointError, Retention
from lmm_tui.engine.device import rng_state
from lmm_tui.engine.model.adapters import Adapter, adapter_of, weights_of
from lmm_tui.engine.parallel.spread import whole_tensors
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.optimizer_state import named_state
from lmm_tui.engine.training.step_reader import StepReader
from lmm_tui.message import Message


class Checkpointer:
    """Writes the checkpoints of one run; `close` it."""

    def __init__(self, context: TrainContext, reader: StepReader) -> None:
        """`reader` has the numbers of the last step, which a checkpoint holds too."""
        self._context = context
        self._reader = reader
        self._alerted = False
        """Whether an alert was written since the last checkpoint that could be written."""
        self.saver = BackgroundSaver(
            context.run_dir.checkpoints,
            (context.run_dir.metrics, context.run_dir.events),
            context.observer.settle,
            self._report,
        )

    def save(self, pinned: bool = False) -> str:
        """Write a checkpoint and wait for it; returns its name. Raises CheckpointError."""
        self.begin()

        def written() -> str:
            path = self.saver.wait()
            if pinned:
                files.pin(path)
            return path.name

        with self._context.activity(
            Message("writing checkpoint at step {step}", step=self._context.step)
        ):
            return self._context.ranks.by_leader(written)

    def begin(self) -> None:
        """Copy the state of this step, unless it is saved, and write it in the background."""
        context = self._context
        self._reader.flush()
        if self.has_current():
            return
        log = context.config.log
        with context.activity(Message("copying the state of step {step}", step=context.step)):
            self.saver.settle()
            context.ranks.meet()  # Before divided tensors are gathered, which must not wait long.
            snapshot = self._snapshot()
            if snapshot is not None:
                retention = Retention(log.keep, log.keep_best, log.keep_every)
                self.saver.begin(context.step, snapshot, retention)

    def has_current(self) -> bool:
        """Whether the state of this step is saved or being written."""
        return self._context.ranks.by_leader(lambda: self.saver.has(self._context.step))

    def begin_unless_stuck(self) -> bool:
        """Begin a checkpoint, unless the one before is stuck on the disk; whether it is begun."""
        context = self._context
        with context.activity(Message("waiting for the checkpoint before")):
            stuck = context.ranks.by_leader(self.saver.is_stuck)
        if not stuck:
            self.begin()
        elif not self._alerted:
            text = Message(
                "the disk does not answer: checkpoints are left out until the last is written"
            )
            context.events.write("alert", text, step=context.step, level="error")
            self._alerted = True
        return not stuck

    def close(self) -> None:
        """Wait for what is being written."""
        self.saver.close()

    def _snapshot(self) -> Snapshot | None:
        """A copy of the state, whole; on the ranks beside rank 0 None."""
        context = self._context
        lora, leads = context.config.lora, context.ranks.leads
        weights = whole_tensors(weights_of(context.model), leads)
        names = {id(p): name for name, p in context.model.named_parameters()}
        optimizers = [
            whole_tensors(named_state(optimizer, names), leads) for optimizer in context.optimizers
        ]
        adapter = adapter_of(context.model, lora) if lora.rank else None
        if adapter is not None:
            adapter = Adapter(whole_tensors(adapter.tensors, leads), adapter.config)
        stage = context.stage.state_dict()
        if not leads:
            return None
        return Snapshot.take(
            CheckpointState(
                step=context.step,
                tokens=context.tokens,
                tokenizer=context.stage.tokenizer.fingerprint,
                loss=context.loss,
                val_loss=context.val_loss,
                val_step=context.val_step,
                observer=context.observer.state_dict(),
                lr_scale=context.lr_scale,
                parts=context.parts,
                spent_s=context.budget.spent_s,
            ),
            weights,
            {
                "optimizers": optimizers,
                "scaler": context.scaler.state_dict(),
                "rng": rng_state(),
                "stage": stage,
            },
            adapter,
        )

    def _report(self, step: int, outcome: Path | CheckpointError) -> None:
        """Runs in the writing thread; several failures in a row are one alert."""
        events = self._context.events
        if isinstance(outcome, Path):
            events.write("checkpoint", outcome.name, step=step, path=str(outcome))
        elif not self._alerted:
            events.write("alert", str(outcome), step=step, level="error")
        self._alerted = not isinstance(outcome, Path)


if __name__ == "__main__":
    from types import SimpleNamespace
    from typing import Any

    demo: Any = SimpleNamespace(_alerted=False, _context=SimpleNamespace())
    demo._context.events = SimpleNamespace(write=lambda kind, text, **about: print(kind, text))
    for outcome in (CheckpointError("disk full"), CheckpointError("disk full"), Path("step-3")):
        Checkpointer._report(demo, 1, outcome)
    print("=== 自测通过 ===")
