"""How a model stands on the ranks: alone as it is, else replicated or divided.

Losses are computed inside the model's `__call__`, as `spread(work)`: what gathers parameters and
sums gradients hangs there. Gradients are summed over the ranks, not averaged: each rank divides
its losses by the weight of the whole step.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from torch import Tensor

from lmm_tui.engine.model.language_model import LanguageModel

T = TypeVar("T")
Work = Callable[[LanguageModel], T]


class Spread:
    """A model on one rank; the base of the ways to have it on several."""

    is_sharded = False
    """Whether this rank has only a part of each parameter."""
    replicas = 1
    """On how many ranks the gradient of a parameter, or of its part, is the same."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.on_wait: Callable[[], object] = lambda: None
        """Called where this rank has its gradients and begins to wait for those of others."""

    def __call__(self, work: Work[T]) -> T:
        """`work(model)`, with gradients that will be summed over the ranks."""
        found: T = self.model(work)
        return found

    def accumulating(self, is_last: bool) -> AbstractContextManager[None]:
        """For the passes of one of a step's micro-batches: only the last one communicates."""
        return nullcontext()

    def whole(self) -> AbstractContextManager[LanguageModel]:
        """A model with all parameters, which each rank may use by itself in the `with` block.

        All ranks enter and leave it together.
        """
        return nullcontext(self.model)


def whole_tensors(value: Any, keep: bool) -> Any:
    """Nested dicts, lists and tuples with each divided tensor whole, on the CPU; others as before.

    The tensors are gathered one after another, by all ranks together; None unless `keep`.
    """
    if isinstance(value, Tensor):
        if not hasattr(value, "full_tensor"):
            return value if keep else None
        found = value.detach().full_tensor()  # type: ignore[attr-defined]
        return found.cpu() if keep else None
    if isinstance(value, dict):
        return {key: whole_tensors(item, keep) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(whole_tensors(item, keep) for item in value)
    return value


def divided_like(parameter: Tensor, found: Tensor) -> Tensor:
    """A whole tensor, divided as a parameter of its shape is; the same where that is whole."""
    if not hasattr(parameter, "placements") or found.shape != parameter.shape:
        return found
    from torch.distributed.tensor import distribute_tensor

    # Each rank has all of it: nothing is sent.
    return distribute_tensor(
        found.to(parameter.device),
        parameter.device_mesh,  # type: ignore[attr-defined]
        parameter.placements,
        src_data_rank=None,
    )


if __name__ == "__main__":
    import torch

    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.model.decoder import Decoder

    tiny = Decoder(ModelShape(64, 16, 2, 2, 1, 8, 32))
    tiny.init_weights(0)
    alone = Spread(tiny)
    with alone.whole() as one, alone.accumulating(one is tiny):
        print(alone(lambda model: model.head_weight.shape))
    assert whole_tensors({"a": [torch.ones(1), 3]}, False) == {"a": [None, 3]}
    print("=== 自测通过 ===")
