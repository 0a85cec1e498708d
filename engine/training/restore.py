"""Puts a checkpoint back into a run: the newest intact one, into model, optimisers and counters.

A resume restores everything, so that training continues as if it had not been interrupted. A
rollback (`engine.training.rollback`) restores weights and optimisers only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lmm_tui.engine.checkpoints import checkpoint
from lmm_tui.engine.checkpoints import checkpoint_files as files
from lmm_tui.engine.checkpoints.checkpoint import CheckpointState
from lmm_tui.engine.checkpoints.checkpoint_files import CheckpointError
from lmm_tui.engine.device import restore_rng
from lmm_tui.engine.model.adapters import load_adapted
from lmm_tui.engine.run.checkpoint_names import checkpoint_step
from lmm_tui.engine.run.run import Run
from lmm_tui.engine.run.run_dir_error import no_time_left, nothing_left
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.optimizer_state import load_named
from lmm_tui.message import Message


def find_checkpoint(run: Run) -> Path | None:
    """The newest intact checkpoint of a run; damaged ones after it are set aside, with an alert.

    Raises CheckpointError where all are damaged.
    """
    run.status.update(activity=Message("verifying the checkpoint"))
    found, damaged = files.newest_intact(run.run_dir.checkpoints)
    if damaged and found is None:
        raise next(iter(damaged.values()))
    for path, error in damaged.items():
        files.set_aside(path)
        run.events.write("alert", str(error), step=checkpoint_step(path), level="warning")
    return found


def resume_from(context: TrainContext, path: Path) -> None:
    """Restore all that a checkpoint holds."""
    done, steps = checkpoint_step(path), context.config.train.steps
    minutes = context.config.train.minutes
    # Where the steps follow from the data this is the first to know them.
    if minutes is None and done >= steps:
        raise nothing_left(context.run_dir.path, done, steps)
    state, training = load_checkpoint(context, path)
    restore_rng(training["rng"])
    context.stage.load_state_dict(training.get("stage", {}))
    context.observer.load_state_dict(state.observer)
    context.step, context.tokens = state.step, state.tokens
    context.loss, context.val_loss = state.loss, state.val_loss
    context.val_step = state.val_step
    context.lr_scale, context.parts = state.lr_scale, state.parts
    context.budget.spent_s = context.agreed_s = state.spent_s
    if minutes is not None:
        context.agreed_steps = context.budget.total_steps(context.step, minutes)
    if minutes is not None and context.done:
        raise no_time_left(context.run_dir.path, minutes)


def load_checkpoint(context: TrainContext, path: Path) -> tuple[CheckpointState, dict[str, Any]]:
    """Restore weights, optimiser moments and loss scale of a checkpoint; returns the rest.

    Raises CheckpointError for a damaged one, and for one of another tokenizer.
    """
    state, weights, training = checkpoint.load(path, context.device)
    if state.tokenizer != context.stage.tokenizer.fingerprint:
        if context.config.data.tokenizer is None:
            raise CheckpointError(
                "{path}: data.source has changed since: the tokenizer that is "
                "trained on it is another one; resume with the same data",
                path=path,
            )
        raise CheckpointError(
            "{path}: was trained with another tokenizer than data.tokenizer "
            "gives now; use the run's own tokenizer.json",
            path=path,
        )
    if adapter := checkpoint.read_adapter(path):
        load_adapted(context.model, weights, adapter)
    else:
        context.model.load_state_dict(weights)
    names = {id(p): name for name, p in context.model.named_parameters()}
    for optimizer, saved in zip(context.optimizers, training["optimizers"], strict=True):
        load_named(optimizer, saved, names)
    context.scaler.load_state_dict(training["scaler"])
    return state, training


if __name__ == "__main__":
    import tempfile
    from types import SimpleNamespace

    status = SimpleNamespace(update=lambda **changes: print(changes["activity"]))
    with tempfile.TemporaryDirectory() as folder:
        place = SimpleNamespace(checkpoints=Path(folder))
        demo: Any = SimpleNamespace(status=status, run_dir=place)
        print(find_checkpoint(demo))
    print("=== 自测通过 ===")
