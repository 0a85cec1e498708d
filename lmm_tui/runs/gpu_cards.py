"""One reading of a GPU, the same for every maker.

What a card does not tell is None, never zero: laptop, shared and partitioned GPUs tell little.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CardProcess:
    """A process that uses a card; `memory` is bytes of the card."""

    pid: int
    memory: int | None = None


@dataclass(frozen=True)
class Card:
    """`busy` and `fan` are 0 to 1, memory is bytes, power watts, clocks MHz."""

    name: str
    busy: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    celsius: float | None = None
    watts: float | None = None
    watts_limit: float | None = None
    clock: float | None = None
    clock_max: float | None = None
    fan: float | None = None
    throttle: tuple[str, ...] = ()
    """Why the clock is held down, as texts for `tr`; empty where it is not."""
    processes: tuple[CardProcess, ...] = ()
    uuid: str = ""
    """What the driver calls it wherever it is seen from; empty where it does not say."""

    @property
    def memory_share(self) -> float | None:
        if self.memory_used is None or not self.memory_total:
            return None
        return self.memory_used / self.memory_total

    def memory_of(self, pids: frozenset[int]) -> int | None:
        """Memory that these processes hold; None if they hold none, or it is not told."""
        held = [one.memory for one in self.processes if one.pid in pids]
        known = [memory for memory in held if memory is not None]
        return sum(known) if known else None


Reader = Callable[[], tuple[Card, ...]]


def visible(cards: Sequence[Card], env: Mapping[str, str] = os.environ) -> list[Card]:
    """The cards that torch numbers from 0 on, in its order: those of CUDA_VISIBLE_DEVICES.

    None where it names them by something else than their numbers or uuids.
    """
    chosen = env.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return [*cards]
    known = {str(index): card for index, card in enumerate(cards)}
    known |= {card.uuid: card for card in cards if card.uuid}
    names = [part.strip() for part in chosen.split(",") if part.strip()]
    return [known[name] for name in names] if known.keys() >= {*names} else []


if __name__ == "__main__":
    card = Card("demo", 0.5, 10, 40, processes=(CardProcess(7, 8), CardProcess(8)))
    print(card.memory_share, card.memory_of(frozenset({7, 8})))
    assert card.memory_of(frozenset({8})) is None
    shown = visible([Card("a"), Card("b")], {"CUDA_VISIBLE_DEVICES": "1,0"})
    assert [card.name for card in shown] == ["b", "a"]
    print("=== 自测通过 ===")
