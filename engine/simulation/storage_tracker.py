"""Counts the bytes of all tensors that are alive, real ones and fake ones alike.

Each storage belongs to the phase in which it was allocated, until it is moved to another category.
What a kernel allocates for itself while it runs is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lmm_tui.metrics.step.grad_norms import local_part


class StorageTracker(TorchDispatchMode):
    """Within its `with` block; tensors of before are not counted."""

    def __init__(self, block: int = 1, ranks: int = 1) -> None:
        """Sizes are rounded up to multiples of `block` bytes, as an allocator does."""
        super().__init__()
        self.phase = "other"
        self.sent = 0
        """Bytes that this rank sent in collectives, as rings send them."""
        self._block = block
        self._share = (ranks - 1) / ranks
        self._alive: dict[int, tuple[str, int]] = {}
        self._now: dict[str, int] = {}
        self._total = 0
        self.peaks: dict[str, dict[str, int]] = {}
        """By moment, bytes by category when their sum was largest."""
        self.moment = ""
        """What the largest sum is kept apart for."""
        self._largest = 0

    @property
    def now(self) -> int:
        return self._total

    def begin(self, moment: str) -> None:
        """From here on the largest sum is that of `moment`, of which there may be several."""
        self.moment = moment
        self._largest = sum(self.peaks.get(moment, {}).values())
        self._add(self.phase, 0)

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """What is allocated in the `with` block belongs to `phase`."""
        before, self.phase = self.phase, phase
        try:
            yield
        finally:
            self.phase = before

    def assign(self, category: str, tensors: Iterable[Tensor]) -> None:
        """Count these tensors under `category` from here on."""
        for tensor in tensors:
            storage = local_part(tensor).untyped_storage()
            self._see(storage)
            before, size = self._alive[id(storage)]
            self._alive[id(storage)] = (category, size)
            self._add(before, -size)
            self._add(category, size)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # Its operations on the parts of this rank come here, too.
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor) and leaf.device.type != "meta":
                self._see(leaf.untyped_storage())
        if func.namespace in {"c10d", "_c10d_functional"}:
            self._count_collective(func, args)
        return found

    def __enter__(self) -> StorageTracker:
        self._resize = torch.UntypedStorage.resize_
        torch.UntypedStorage.resize_ = self._resized(self._resize)  # type: ignore[method-assign]
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]
        super().__exit__(*error)

    def _resized(self, resize: Callable[..., Any]) -> Callable[..., Any]:
        """FSDP frees gathered weights by resizing their storage to nothing, past the dispatcher."""

        def tracked(storage: torch.UntypedStorage, size: int) -> Any:
            found = resize(storage, size)
            if known := self._alive.get(id(storage)):
                self._add(known[0], -known[1])
                size = self._rounded(storage.nbytes())
                self._alive[id(storage)] = ("gathered weights", size)
                self._add("gathered weights", size)
            return found

        return tracked

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)
        if key in self._alive:
            return
        size = self._rounded(storage.nbytes())
        self._alive[key] = (self.phase, size)
        weakref.finalize(storage, self._freed, key)
        self._add(self.phase, size)

    def _freed(self, key: int) -> None:
        category, size = self._alive.pop(key)
        self._add(category, -size)

    def _add(self, category: str, size: int) -> None:
        self._now[category] = self._now.get(category, 0) + size
        self._total += size
        if self._total > self._largest:
            self._largest, self.peaks[self.moment] = self._total, dict(self._now)

    def _rounded(self, size: int) -> int:
        return -(-size // self._block) * self._block

    def _count_collective(self, func: Any, args: tuple[Any, ...]) -> None:
        sizes = [leaf.nbytes for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        rounds = 2 if "allreduce" in func.__name__.replace("_", "") else 1
        if sizes:  # A ring passes all but its own share on, of a sum twice.
            self.sent += round(rounds * self._share * max(sizes))


if __name__ == "__main__":
    with StorageTracker() as tracker:
        kept = torch.zeros(1000)
        (kept + 1).sum()
        print(tracker.peaks, tracker.now)
        assert tracker.now == 4000 and tracker.peaks[""]["other"] >= 8000
    print("=== 自测通过 ===")
