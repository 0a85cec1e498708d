"""A stand-in for a CUDA graph on a CPU: records operations of torch, and repeats them.

Like a graph it runs no Python of ours when it is replayed: the same operations on the same memory
with the numbers that the host gave when they were recorded. Like one it does nothing while it
records, and refuses what the host would have to wait for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::masked_select"}


class Tape(TorchDispatchMode):
    """What `engine.cuda_graph.recorded` returns."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self._calls: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self._own: set[int] = set()
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self.replays = 0
        try:
            with self:
                work()
        finally:
            for tensor, value in self._before.values():
                tensor.copy_(value)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._schema.name in _WAITS:
            raise RuntimeError("operation not permitted when stream is capturing")
        given = _tensors((args, kwargs))
        if func._schema.is_mutable:
            for tensor in given:
                storage = _storage(tensor)
                if storage not in self._own and tensor.data_ptr() not in self._before:
                    self._before[tensor.data_ptr()] = tensor.detach(), tensor.detach().clone()
        found = func(*args, **kwargs)
        known = {_storage(tensor) for tensor in given}
        made = [tensor for tensor in _tensors(found) if _storage(tensor) not in known]
        self._own |= {_storage(tensor) for tensor in made}
        self._calls.append((func, args, kwargs, made))
        return found

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, made in self._calls:
            if not made and not func._schema.is_mutable:
                continue  # A view: it is there.
            given = {_storage(tensor) for tensor in _tensors((args, kwargs))}
            found = _tensors(func(*args, **kwargs))
            new = [tensor for tensor in found if _storage(tensor) not in given]
            for ours, tensor in zip(made, new, strict=True):
                ours.copy_(tensor)


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
