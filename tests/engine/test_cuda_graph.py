"""When work is recorded as a CUDA graph. CUDA's part is a stand-in: no test machine has a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from lmm_tui.engine.cuda_graph import repeatable

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")


class Card:
    """What would be launched: `done` has one entry for each time that the work is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refusal: str = "") -> None:
        self.done: list[str] = []
        self._recording = False
        card = self

        class Graph:
            def replay(self) -> None:
                card.done.append("graph")

        @contextmanager
        def graph(graph: Graph, capture_error_mode: str) -> Iterator[None]:
            card._recording = True
            yield
            card._recording = False
            if refusal:
                raise RuntimeError(refusal)

        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", graph)

    def work(self) -> None:
        if not self._recording:
            self.done.append("kernels")


def test_the_second_call_is_recorded_and_no_call_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch)
    turn = repeatable(card.work, CUDA)
    for _ in range(4):
        turn()
    assert card.done == ["kernels", "graph", "graph", "graph"]


def test_what_cannot_be_recorded_is_launched_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, "operation not permitted when stream is capturing")
    turn = repeatable(card.work, CUDA)
    for _ in range(3):
        turn()
    assert card.done == ["kernels"] * 3


def test_too_little_memory_is_told_and_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = repeatable(Card(monkeypatch, "CUDA out of memory").work, CUDA)
    turn()
    with pytest.raises(RuntimeError, match="out of memory"):
        turn()


def test_elsewhere_work_stays_as_it_is() -> None:
    def work() -> None:
        pass

    assert repeatable(work, CPU) is work
