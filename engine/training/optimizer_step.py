"""One optimiser step: forward and backward passes, clipping, and the update.

The gradient of a step is that of all its micro-batches, each weighted by what it counts. A step
that does not fit into the memory is repeated with its micro-batches split into more parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lmm_tui.engine.device import empty_cache, is_out_of_memory
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.stages.oom_split import next_split, split, with_oom_retry
from lmm_tui.engine.stages.shares import share
from lmm_tui.engine.training.batches_ahead import BatchesAhead
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.non_finite import is_non_finite, step_unless
from lmm_tui.engine.training.observer import StepTensors
from lmm_tui.engine.training.recorded_steps import Made, RecordedSteps
from lmm_tui.engine.training.schedule import lr_factor
from lmm_tui.engine.training.step_sums import sum_step
from lmm_tui.errors import LmmError
from lmm_tui.message import Message
from lmm_tui.metrics.names import ROUTER_LOSS
from lmm_tui.metrics.step.grad_norms import LayerNorms


class RankMemoryError(LmmError):
    """One of several ranks ran out of memory in the middle of a step."""


class OptimizerStep:
    """Makes the steps of one run; it does not advance the counters of the context."""

    def __init__(self, context: TrainContext, recorded: RecordedSteps | None = None) -> None:
        """Made when all that batches depend on is restored. `close` it."""
        self._context, stage = context, context.stage
        self._batches = BatchesAhead(
            stage.micro_batches, ahead=stage.laid_out_ahead, under=context.autocast
        )
        self._recorded = recorded
        self._tried = False
        """Whether the ranks know that a micro-batch fits."""

    def fits(self) -> None:
        """What the ranks would find out before the first step is known: a micro-batch fits."""
        self._tried = True

    def close(self) -> None:
        self._batches.close()

    def run(self, probing: bool) -> StepTensors:
        """Make the next step; nothing here waits for a GPU unless `probing`."""
        context = self._context
        lr = self._set_lr()
        context.ranks.beats.phase("data")
        micro_batches = self._batches.take(context.step)
        weight = sum(batch.weight for batch in micro_batches)
        tokens = sum(batch.tokens for batch in micro_batches)
        own = share(micro_batches, context.ranks.rank, context.ranks.size)
        (loss, stats, norms), signals = self._make(own, weight, probing)
        return StepTensors(
            context.step + 1,
            context.tokens + tokens,
            lr,
            loss,
            norms,
            context.config.optim.clip,
            stats,
            scaled=context.scaler.is_enabled(),
            signals=signals,
        )

    def _make(
        self, own: list[MicroBatch], weight: int, probing: bool
    ) -> tuple[Made, Tensor | None]:
        """Pass forward and backward and update; with several ranks their signals as well."""
        recorded = self._recorded
        if recorded is None:
            return self._update(*self._accumulate(own, weight, probing), weight, probing)
        with recorded.rates():
            made = None if probing else recorded.make(own, weight, self._make_once)
            if made is not None:
                return made, None
            return self._update(*self._accumulate(own, weight, probing), weight, probing)

    def _make_once(self, own: Sequence[MicroBatch], weight: int) -> Made:
        """A step without what only the host could do, to be recorded."""
        return self._update(*self._backward_all(own, weight, False), weight, False)[0]

    def _update(
        self, loss: Tensor, stats: dict[str, Tensor], weight: int, probing: bool
    ) -> tuple[Made, Tensor | None]:
        """Clip the gradients that were accumulated, and make the step of the optimisers."""
        context = self._context
        for optimizer in context.optimizers:
            context.scaler.unscale_(optimizer)
        context.ranks.beats.phase("all-reduce")
        loss, stats, norms, signals = self._over_all_ranks(loss, stats)
        context.ranks.beats.phase("optimizer")
        context.observer.grads.clip(context.config.optim.clip)
        skip = is_non_finite(loss, norms.total)
        with context.observer.probe_update(norms, weight, probing):
            for optimizer in context.optimizers:
                step_unless(skip, optimizer)
        context.zero_grad()
        context.scaler.update()
        return (loss, stats, norms), signals

    def _set_lr(self) -> float:
        """Set the learning rate of each group for this step; returns that of AdamW."""
        context, config = self._context, self._context.config
        factor = lr_factor(context.step, context.total_steps, config.optim) * context.lr_scale
        for group in context.param_groups():
            group["lr"] = group["initial_lr"] * factor
        return config.peak_lr * factor

    def _accumulate(
        self, own: list[MicroBatch], weight: int, probing: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The gradient of this rank's share; micro-batches are split where they do not fit.

        On several ranks only before the first step, where they agree on it; later a rank that
        runs out of memory would leave the others in a collective.
        """
        ranks = self._context.ranks
        if ranks.is_alone:
            return with_oom_retry(
                lambda: self._backward_all(own, weight, probing), lambda: self._split_further(own)
            )
        if not self._tried:
            self._try(own, weight)
        # Masks of dropout are a function of seed, step and rank: no checkpoint has to keep them.
        seed = (self._context.config.train.seed, self._context.step, ranks.rank)
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))
        try:
            return self._backward_all(own, weight, probing)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        raise RankMemoryError(
            "rank {rank} ran out of memory on {device} in step {step}, where the ranks cannot "
            "split micro-batches any more; parallel.restarts lets them go on from the last "
            "checkpoint with smaller ones",
            rank=ranks.rank,
            device=self._context.device,
            step=self._context.step + 1,
        )

    def _try(self, own: list[MicroBatch], weight: int) -> None:
        """Find out how small micro-batches have to be for every rank."""
        context = self._context

        def attempt() -> None:
            with context.spread.accumulating(is_last=False):
                self._backward(split(own[:1], context.parts)[0], weight, {})

        if not context.spread.is_sharded:
            with_oom_retry(attempt, lambda: self._split_further(own))
        context.parts = context.ranks.most(context.parts)
        context.zero_grad()
        self._tried = True

    def _over_all_ranks(
        self, loss: Tensor, stats: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], LayerNorms, Tensor | None]:
        """Loss, metrics and gradient norms of the whole step, and the ranks' signals."""
        context, grads = self._context, self._context.observer.grads
        if context.ranks.is_alone:
            return loss, stats, grads.measure(), None
        context.signals.spent_s = context.budget.spent_s
        if (minutes := context.config.train.minutes) is not None:
            context.signals.total_steps = context.budget.total_steps(context.step, minutes)
        signals = context.signals.tensor(context.ranks.leads)
        squares_L = grads.squares().to(loss.device) / context.spread.replicas
        sums = sum_step(context.ranks, loss, stats, signals, squares_L)
        return sums.loss, sums.stats, grads.adopt(sums.squares_L), sums.signals

    def _backward_all(
        self, micro_batches: Sequence[MicroBatch], weight: int, probing: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Accumulate the gradients of a step; returns its loss and the means worth a curve."""
        context, observer = self._context, self._context.observer
        loss = torch.zeros((), device=context.device)
        stats: dict[str, Tensor] = {}
        pieces = split(micro_batches, context.parts)
        for index, batch in enumerate(pieces):
            is_last = index == len(pieces) - 1
            with (
                observer.probe_forward(batch, probing and index == 0),
                context.spread.accumulating(is_last),
            ):
                loss += self._backward(batch, weight, stats)
            # The gradient of the last one is that of all ranks.
            own = context.ranks.is_alone or not is_last
            if probing and index == 0 and own and not context.scaler.is_enabled():
                observer.deep.record_first_gradient(batch.weight)
        return loss, stats

    def _backward(self, batch: MicroBatch, weight: int, stats: dict[str, Tensor]) -> Tensor:
        """The share of one part of a micro-batch in the loss of its step; adds to `stats`."""
        context = self._context

        def work(model: LanguageModel) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
            loss_sum, sums = context.stage.loss(model, batch)
            router_loss, model.router_loss = model.router_loss, None
            if router_loss is None:
                return loss_sum, loss_sum, sums
            # Of a MoE; the loss that is shown stays that of the data.
            uneven = router_loss * batch.weight
            return loss_sum + uneven, loss_sum, sums | {ROUTER_LOSS: uneven.detach()}

        beats = context.ranks.beats
        beats.phase("forward")
        with context.autocast():
            minimised, loss_sum, sums = context.spread(work)
        beats.phase("backward")
        part = loss_sum / weight
        context.scaler.scale(minimised / weight).backward()
        for name, value in sums.items():
            before = stats.get(name, torch.zeros((), device=context.device))
            stats[name] = before + value / weight
        return part.detach()

    def _split_further(self, micro_batches: list[MicroBatch]) -> None:
        """Free what the failed attempt left, and split micro-batches into twice as many parts."""
        context = self._context
        context.parts = next_split(micro_batches, context.parts, str(context.device))
        context.zero_grad()
        if self._recorded is not None:
            self._recorded.forget()
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
