"""Work that is launched many times as it is: on CUDA as one graph instead of kernel by kernel.

A turn of generation, or a step of a small model, is hundreds of kernels of microseconds, each of
which costs the host about as long to launch as the GPU to run.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from lmm_tui.engine.device import is_out_of_memory

Work = Callable[[], None]
"""The same operations on the same memory in each call, without a decision of the host."""


def can_record(device: torch.device) -> bool:
    return device.type == "cuda"


def repeatable(work: Work, device: torch.device) -> Work:
    """`work`, which on CUDA is recorded in its second call."""
    return RecordedWork(work) if can_record(device) else work


class RecordedWork:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._graph: torch.cuda.CUDAGraph | None = None
        self._calls = 0

    def __call__(self) -> None:
        self._calls += 1
        if self._calls == 2:  # The first call has made what libraries make once.
            self._graph = self._recorded()
        if self._graph is None:
            self._work()
        else:
            self._graph.replay()

    def _recorded(self) -> torch.cuda.CUDAGraph | None:
        """None where an operation can't be recorded: it is launched as before then."""
        try:
            return recorded(self._work)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            return None


def recorded(work: Work) -> torch.cuda.CUDAGraph:
    """The operations of `work`, not done yet; RuntimeError where one of them can't be recorded."""
    graph = torch.cuda.CUDAGraph()
    # Another thread may pin memory for the next batch meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    return graph


if __name__ == "__main__":
    counter = torch.zeros(1)

    def count() -> None:
        counter.add_(1)

    work = repeatable(count, counter.device)
    work()
    work()
    assert counter == 2
    print("=== 自测通过 ===")
