"""One optimiser step: forward and backward passes, clipping, and the update.

The gradient of a step is that of all its micro-batches, each weighted by what it counts. A step
that does not fit into the memory is repeated with its micro-batches split into more parts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lmm_tui.engine.device import empty_cache
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.stages.oom_split import next_split, split, with_oom_retry
from lmm_tui.engine.training.batches_ahead import BatchesAhead
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.non_finite import is_non_finite, step_unless
from lmm_tui.engine.training.observer import StepTensors
from lmm_tui.engine.training.schedule import lr_factor
from lmm_tui.message import Message
from lmm_tui.metrics.names import ROUTER_LOSS


class OptimizerStep:
    """Makes the steps of one run; it does not advance the counters of the context."""

    def __init__(self, context: TrainContext) -> None:
        """Made when all that batches depend on is restored. `close` it."""
        self._context, stage = context, context.stage
        self._batches = BatchesAhead(
            stage.micro_batches, ahead=stage.laid_out_ahead, under=context.autocast
        )

    def close(self) -> None:
        self._batches.close()

    def run(self, probing: bool) -> StepTensors:
        """Make the next step; nothing here waits for a GPU unless `probing`."""
        context = self._context
        lr = self._set_lr()
        micro_batches = self._batches.take(context.step)
        weight = sum(batch.weight for batch in micro_batches)
        loss, stats = with_oom_retry(
            lambda: self._backward_all(micro_batches, weight, probing),
            lambda: self._split_further(micro_batches),
        )
        for optimizer in context.optimizers:
            context.scaler.unscale_(optimizer)
        norms = context.observer.grads.measure()
        context.observer.grads.clip(context.config.optim.clip)
        skip = is_non_finite(loss, norms.total)
        with context.observer.probe_update(norms, weight, probing):
            for optimizer in context.optimizers:
                step_unless(skip, optimizer)
        context.zero_grad()
        context.scaler.update()
        return StepTensors(
            context.step + 1,
            context.tokens + sum(batch.tokens for batch in micro_batches),
            lr,
            loss,
            norms,
            context.config.optim.clip,
            stats,
            scaled=context.scaler.is_enabled(),
        )

    def _set_lr(self) -> float:
        """Set the learning rate of each group for this step; returns that of AdamW."""
        context, config = self._context, self._context.config
        factor = lr_factor(context.step, context.total_steps, config.optim) * context.lr_scale
        for group in context.param_groups():
            group["lr"] = group["initial_lr"] * factor
        return config.peak_lr * factor

    def _backward_all(
        self, micro_batches: list[MicroBatch], weight: int, probing: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Accumulate the gradients of a step; returns its loss and the means worth a curve."""
        context, observer = self._context, self._context.observer
        loss = torch.zeros((), device=context.device)
        stats: dict[str, Tensor] = {}
        for index, batch in enumerate(split(micro_batches, context.parts)):
            with observer.probe_forward(batch, probing and index == 0):
                loss += self._backward(batch, weight, stats)
            if probing and index == 0 and not context.scaler.is_enabled():
                observer.deep.record_first_gradient(batch.weight)
        return loss, stats

    def _backward(self, batch: MicroBatch, weight: int, stats: dict[str, Tensor]) -> Tensor:
        """The share of one part of a micro-batch in the loss of its step; adds to `stats`."""
        context = self._context
        with context.autocast():
            loss_sum, sums = context.stage.loss(context.model, batch)
        minimised, router_loss = loss_sum, context.model.router_loss
        if router_loss is not None:  # Of a MoE; the loss that is shown stays that of the data.
            uneven, context.model.router_loss = router_loss * batch.weight, None
            minimised, sums = loss_sum + uneven, sums | {ROUTER_LOSS: uneven.detach()}
        share = loss_sum / weight
        context.scaler.scale(minimised / weight).backward()
        for name, value in sums.items():
            before = stats.get(name, torch.zeros((), device=context.device))
            stats[name] = before + value / weight
        return share.detach()

    def _split_further(self, micro_batches: list[MicroBatch]) -> None:
        """Free what the failed attempt left, and split micro-batches into twice as many parts."""
        context = self._context
        context.parts = next_split(micro_batches, context.parts, str(context.device))
        context.zero_grad()
        empty_cache(context.device)
        context.events.write(
            "alert",
            Message(
                "out of memory on {device}: micro-batches are cut in {parts} from "
                "here on, and accumulated; each step still sees the same data",
                device=context.device,
                parts=context.parts,
            ),
            step=context.step + 1,
            level="warning",
        )


if __name__ == "__main__":
    from types import SimpleNamespace
    from typing import Any

    from lmm_tui.engine.config.resolve import resolve

    stage = SimpleNamespace(micro_batches=None, laid_out_ahead=False)
    context: Any = SimpleNamespace(config=resolve().completed(), lr_scale=1.0, step=3, stage=stage)
    context.autocast = None
    context.total_steps = context.config.train.steps
    context.param_groups = lambda: []
    print(OptimizerStep(context)._set_lr())
    print("=== 自测通过 ===")
