"""Counts where the host would wait for a GPU in a training step, on a machine without one.

A read of a result makes the host wait: `item`, `tolist`, a shape that depends on data. On a CPU
they all pass; here each of them is counted, by the line of ours that asked for it. Numbers that are
read one step late count only where they are those of the step that was just queued.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lmm_tui.engine import device
from lmm_tui.engine.transfer import LateNumbers
from lmm_tui.metrics.step import grad_norms

_DATA_DEPENDENT = {
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::is_nonzero",
    "aten::equal",
    "aten::masked_select",
    "aten::unique_dim",
    "aten::_unique2",
}
_OURS = str(Path(__file__).parents[1])


class HostWaits(TorchDispatchMode):
    """Context manager: `found` has how often each line waited. For this thread only."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self._newest: LateNumbers | None = None
        self._stack = ExitStack()

    def __enter__(self) -> HostWaits:
        enter = self._stack.enter_context
        enter(patch.object(device, "is_asynchronous", lambda device: True))
        enter(patch.object(grad_norms, "reading_is_free", lambda tensor: False))
        for name in ("tolist", "numpy", "__array__"):
            enter(patch.object(torch.Tensor, name, self._counting(getattr(torch.Tensor, name))))
        real_init, real_read = LateNumbers.__init__, LateNumbers.read

        def init(numbers: LateNumbers, values: torch.Tensor) -> None:
            real_init(numbers, values)
            self._newest = numbers

        def read(numbers: LateNumbers) -> list[float]:
            if numbers is self._newest:
                self._count()
            with self.paused():
                return real_read(numbers)

        enter(patch.object(LateNumbers, "__init__", init))
        enter(patch.object(LateNumbers, "read", read))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._stack.close()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func._schema.name in _DATA_DEPENDENT:
            self._count()
        return func(*args, **(kwargs or {}))

    def paused(self) -> AbstractContextManager[Any]:
        """Count nothing in the `with` block."""
        return patch.object(self, "_count", lambda: None)

    def _counting(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(tensor: torch.Tensor, *args: Any, **options: Any) -> Any:
            self._count()
            return real(tensor, *args, **options)

        return counted

    def _count(self) -> None:
        frame = sys._getframe(1)
        while frame.f_back and (
            not frame.f_code.co_filename.startswith(_OURS) or frame.f_code.co_filename == __file__
        ):
            frame = frame.f_back
        place = Path(frame.f_code.co_filename)
        self.found[f"{place.name}:{frame.f_lineno}"] += 1


if __name__ == "__main__":
    with HostWaits() as waits:
        x = torch.arange(4)
        late = LateNumbers(x)
        newest = LateNumbers(x)
        late.read()
        print(newest.read(), x.nonzero().shape, float(x.sum()))
    print(waits.found)
    assert waits.found.total() == 3
    print("=== 自测通过 ===")
