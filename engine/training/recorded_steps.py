"""Optimiser steps as one CUDA graph: small models wait for the launch of kernels, not for the GPU.

What a graph does not know of is its danger: it repeats its operations on the same memory with the
same numbers. So a step is replayed only while everything that the host decides is as it was when it
was recorded, the addresses of all weights and states among it, and is recorded anew otherwise. Data
are copied to where the graph reads them; learning rates are tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from lmm_tui.engine import cuda_graph, device
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.message import Message
from lmm_tui.metrics.step.grad_norms import LayerNorms

if TYPE_CHECKING:
    from lmm_tui.engine.training.context import TrainContext

T = TypeVar("T")
Made = tuple[Tensor, dict[str, Tensor], LayerNorms]
"""Loss, further metrics and gradient norms of a step; those of a replayed one are overwritten by
the next."""
Make = Callable[[Sequence[MicroBatch], int], Made]

_MOST_MICRO_BATCHES = 32
"""A graph of more takes seconds to record, and the host hundreds of megabytes."""


class RecordedSteps:
    """The third step of a kind is recorded: the first makes what is made once, such as the state of
    an optimiser, and is of another kind therefore."""

    def __init__(self, context: TrainContext) -> None:
        self._context = context
        self._rates = [torch.zeros((), device=context.device) for _ in context.param_groups()]
        self._model = [*context.model.parameters(), *context.model.buffers()]
        self._refused = False
        self._kind: object = None
        self.forget()

    def forget(self) -> None:
        """Free the graph and its memory."""
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batches: list[MicroBatch] = []
        self._made: Made | None = None

    @contextmanager
    def rates(self) -> Iterator[None]:
        """In the `with` block optimisers read their learning rates from the device."""
        groups = list(self._context.param_groups())
        before = [(group["lr"], group.get("capturable", False)) for group in groups]
        for group, rate in zip(groups, self._rates, strict=True):
            rate.fill_(group["lr"])
            group["lr"], group["capturable"] = rate, True
        try:
            yield
        finally:
            for group, (lr, capturable) in zip(groups, before, strict=True):
                group["lr"], group["capturable"] = lr, capturable

    def make(self, batches: Sequence[MicroBatch], weight: int, work: Make) -> Made | None:
        """Make the step, `work`, by its graph; None where it is for the caller to make."""
        kind = self._kind_of(batches, weight)
        if kind != self._kind:
            self.forget()
            self._kind = kind
            return None
        if self._graph is not None:
            for ours, given in zip(_tensors(self._batches), _tensors(batches), strict=True):
                ours.copy_(given)
        elif not self._record(batches, weight, work):
            return None
        assert self._graph is not None
        self._graph.replay()
        return self._made

    def _record(self, batches: Sequence[MicroBatch], weight: int, work: Make) -> bool:
        if self._refused:
            return False
        self._batches = [_mapped(batch, Tensor.clone) for batch in batches]

        def once() -> None:
            self._made = work(self._batches, weight)

        context = self._context
        try:
            self._graph = cuda_graph.recorded(once)
        except RuntimeError as error:
            self._refused, reason = True, str(error).partition("\n")[0]
        else:
            return True
        self.forget()
        context.zero_grad()
        device.empty_cache(context.device)
        context.events.write(
            "alert",
            Message(
                "train.cuda_graphs: a step cannot be recorded ({reason}); its kernels are launched "
                "one by one",
                reason=reason,
            ),
            step=context.step + 1,
            level="warning",
        )
        return False

    def _kind_of(self, batches: Sequence[MicroBatch], weight: int) -> object:
        """Equal for steps that are the same operations on the same memory."""
        context = self._context
        held = list(self._model)
        for optimizer in context.optimizers:
            for state in optimizer.state.values():
                held += [value for value in state.values() if isinstance(value, Tensor)]
        addresses = [tensor.data_ptr() for tensor in held]
        return weight, context.parts, context.config.optim, addresses, _described(batches)


def recorded_steps(context: TrainContext) -> RecordedSteps | None:
    """As `train.cuda_graphs` has it; ConfigError where that is `on` and it cannot be."""
    wanted = context.config.train.cuda_graphs
    if wanted == "off":
        return None
    reason = _why_not(context)
    if reason is None:
        return RecordedSteps(context)
    if wanted == "on":
        raise ConfigError(
            "train.cuda_graphs: on, but {reason}; set it to auto or off", reason=reason
        )
    said = Message("train.cuda_graphs: steps are not recorded: {reason}", reason=reason)
    context.events.write("start", said, step=context.step)
    return None


def _why_not(context: TrainContext) -> str | None:
    """Why a step of this run cannot be one graph; None where it can."""
    train = context.config.train
    if not cuda_graph.can_record(context.device):
        return Message("a graph needs a CUDA GPU, this is {device}", device=context.device)
    if not context.ranks.is_alone:
        return Message("several ranks send gradients in the middle of a step")
    if not context.stage.recordable:
        return Message(
            "steps of {stage} differ in shape, as in how many labels count, and a graph repeats "
            "one; pretraining and distillation on text have one shape",
            stage=context.config.stage,
        )
    if context.scaler.is_enabled():
        return Message("the loss scale of fp16 is the host's; bf16 has none")
    if train.recompute != "none":
        return Message("train.recompute reads random states in the middle of a step")
    if not isinstance(context.model, Decoder):
        return Message("models of transformers may ask the GPU for numbers")
    if train.grad_accum > _MOST_MICRO_BATCHES:
        return Message(
            "{count} micro-batches a step are too many for one graph, {most} are the most; raise "
            "train.batch_size in the place of train.grad_accum",
            count=train.grad_accum,
            most=_MOST_MICRO_BATCHES,
        )
    return None


def _mapped(value: T, change: Callable[[Tensor], Tensor]) -> T:
    """A dataclass of tensors, dataclasses and plain values with each tensor changed."""
    if isinstance(value, Tensor):
        return change(value)  # type: ignore[return-value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    changed: dict[str, Any] = {
        each.name: _mapped(getattr(value, each.name), change) for each in fields(value)
    }
    return replace(value, **changed)


def _tensors(batches: Sequence[MicroBatch]) -> list[Tensor]:
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    for batch in batches:
        _mapped(batch, note)
    return found


def _described(value: object) -> object:
    """All of it but the numbers in tensors."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype
    if isinstance(value, list | tuple):
        return [_described(each) for each in value]
    if is_dataclass(value):
        return type(value), [_described(getattr(value, each.name)) for each in fields(value)]
    return value


if __name__ == "__main__":
    batch = MicroBatch(torch.ones(2, 4), torch.zeros(2, 4), 8, 8)
    other = _mapped(batch, Tensor.clone)
    print(_described([batch]))
    assert _described([batch]) == _described([other]) != _described([batch.part(0, 1)])
    assert [a.data_ptr() for a in _tensors([batch])] != [b.data_ptr() for b in _tensors([other])]
    print("=== 自测通过 ===")
