"""Copies between host and device that do not make the host wait for a GPU.

Batches travel through pinned memory, token ids as the narrowest integers there are; the numbers of
a step come back through an event recorded right behind their own copy, so that reading them waits
for that step alone and not for what was queued after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.integer[Any]]


def to_device(values: NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """Host values as a tensor of `device`, in their own type."""
    tensor = values if isinstance(values, Tensor) else torch.from_numpy(values)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def integers_to_device(arrays: Sequence[Ints], device: torch.device) -> list[Tensor]:
    """Arrays of integers as int64 tensors of `device`, in one copy of 2 or 4 bytes a number."""
    if device.type == "cpu":
        return [torch.from_numpy(array.astype(np.int64, copy=False)) for array in arrays]
    joined = to_device(_joined(arrays), device)
    # Widened on the device: a kernel there costs less than three times the bytes on the bus. Torch
    # has few operations for uint16, and MPS none: hence int16 and a mask.
    wide = joined.long() & 0xFFFF if joined.dtype == torch.int16 else joined.long()
    parts = wide.split([array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]


def _joined(arrays: Sequence[Ints]) -> Ints:
    """One flat array, int16 with the bits of uint16 where all of them are such, else int32."""
    if all(array.dtype == np.uint16 for array in arrays):
        return np.concatenate([array.ravel() for array in arrays]).view(np.int16)
    return np.concatenate([array.ravel().astype(np.int32) for array in arrays])


class LateNumbers:
    """Numbers of a device that are read later: the copy is queued now, and waited for then."""

    def __init__(self, values: Tensor) -> None:
        """`values` must not be changed any more."""
        self._event: torch.cuda.Event | torch.mps.Event | None = None
        self._host = values
        if values.is_cuda:
            self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._host.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()
        elif values.is_mps:
            self._host = values.to("cpu", non_blocking=True)
            self._event = torch.mps.Event()
        if self._event is not None:
            self._event.record()

    def read(self) -> list[float]:
        """The numbers, once the device has come to where they were made."""
        if self._event is not None:
            self._event.synchronize()
        found: list[float] = self._host.tolist()
        return found


if __name__ == "__main__":
    here = torch.device("cpu")
    ids, places = integers_to_device(
        [np.array([[1, 65_535]], np.uint16), np.array([3], np.int64)], here
    )
    print(ids, places, LateNumbers(torch.ones(2)).read())
    assert ids.dtype == places.dtype == torch.int64
    print("=== 自测通过 ===")
