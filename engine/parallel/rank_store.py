"""What the ranks of a run leave for each other in the store of their launcher (a c10d TCPStore).

The store lives in the launcher, not in a rank: it answers while a collective hangs and while any
rank is dead. Its client blocks on a missing key, so each read asks first whether the key is there.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, Protocol

from lmm_tui.engine.run.rank_records import RankBeat
from lmm_tui.engine.run.run_records import record_from

STORE = "LMM_TUI_STORE"
"""Environment of a rank: `host:port` of the store of our own supervisor."""
_TIMEOUT_S = 10.0


class KeyStore(Protocol):
    """The part of `torch.distributed.Store` that is used here."""

    def set(self, key: str, value: Any) -> None: ...
    def get(self, key: str) -> bytes: ...
    def check(self, keys: list[str]) -> bool: ...
    def multi_get(self, keys: list[str]) -> list[bytes]: ...


def store_address(env: Mapping[str, str] = os.environ) -> tuple[str, int] | None:
    """Of the supervisor's store, else of the one that torchrun or rank 0 keeps; None alone."""
    if STORE in env:
        host, _, port = env[STORE].rpartition(":")
        return host, int(port)
    if "MASTER_ADDR" in env and "MASTER_PORT" in env:
        return env["MASTER_ADDR"], int(env["MASTER_PORT"])
    return None


def connect(address: tuple[str, int], timeout_s: float = _TIMEOUT_S) -> KeyStore:
    """A connection of its own, which no collective of the caller can hold up."""
    from torch.distributed import TCPStore

    host, port = address
    limit = timedelta(seconds=timeout_s)
    return TCPStore(host, port, is_master=False, timeout=limit, wait_for_workers=False)


class CardReading(Protocol):
    """What a GPU reports; None where it does not tell."""

    @property
    def celsius(self) -> float | None: ...
    @property
    def clock(self) -> float | None: ...
    @property
    def clock_max(self) -> float | None: ...
    @property
    def throttle(self) -> tuple[str, ...]: ...


class RankStore:
    """The keys of one attempt of one run."""

    def __init__(self, store: KeyStore, attempt: int, size: int) -> None:
        self._store = store
        self._prefix = f"lmm-tui/attempt-{attempt}/"
        self._known: set[int] = set()
        self._seen: dict[int, tuple[bytes, float]] = {}
        self.size = size

    def publish(self, beat: RankBeat) -> None:
        self._store.set(f"{self._prefix}beat-{beat.rank}", json.dumps(asdict(beat)))

    def beats(self, now: float | None = None) -> list[RankBeat]:
        """The last beat of each rank that has said something; silence is measured here, by
        this process's clock, since clocks of machines differ."""
        now = time.monotonic() if now is None else now
        for rank in range(self.size):
            if rank not in self._known and self._store.check([self._key(rank)]):
                self._known.add(rank)
        ranks = sorted(self._known)
        found = []
        texts = self._store.multi_get([self._key(rank) for rank in ranks]) if ranks else []
        for rank, text in zip(ranks, texts, strict=True):
            if rank not in self._seen or self._seen[rank][0] != text:
                self._seen[rank] = text, now
            found.append(_aged(text, now - self._seen[rank][1]))
        return self._with_cards([beat for beat in found if beat is not None])

    def publish_cards(self, node: str, cards: Sequence[CardReading]) -> None:
        """What the GPUs of a machine report, in the order of its local ranks."""
        records = [
            {
                "celsius": card.celsius,
                "clock": card.clock,
                "clock_max": card.clock_max,
                "throttle": list(card.throttle),
            }
            for card in cards
        ]
        self._store.set(f"lmm-tui/cards-{node}", json.dumps(records))

    def _with_cards(self, beats: list[RankBeat]) -> list[RankBeat]:
        cards: dict[str, list[dict[str, Any]]] = {}
        for node in {beat.node for beat in beats}:
            key = f"lmm-tui/cards-{node}"
            cards[node] = json.loads(self._store.get(key)) if self._store.check([key]) else []
        return [
            replace(beat, **cards[beat.node][beat.local_rank])
            if beat.local_rank < len(cards[beat.node])
            else beat
            for beat in beats
        ]

    def ask_for_stacks(self, number: int) -> None:
        """Have each rank write its stacks; `number` grows with each request."""
        self._store.set(f"{self._prefix}stacks", str(number))

    def asked_for_stacks(self) -> int:
        """The number of the last request, 0 without one."""
        key = f"{self._prefix}stacks"
        return int(self._store.get(key)) if self._store.check([key]) else 0

    def _key(self, rank: int) -> str:
        return f"{self._prefix}beat-{rank}"


def _aged(text: bytes, silent_s: float) -> RankBeat | None:
    record = json.loads(text)
    record["silent_s"] = round(silent_s, 1)
    record["phase_s"] = round(record.get("phase_s", 0.0) + silent_s, 1)
    return record_from(record, RankBeat)


class MemoryStore:
    """A store in this process, for the self-tests."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    def set(self, key: str, value: Any) -> None:
        self._values[key] = value if isinstance(value, bytes) else str(value).encode()

    def get(self, key: str) -> bytes:
        return self._values[key]

    def check(self, keys: list[str]) -> bool:
        return all(key in self._values for key in keys)

    def multi_get(self, keys: list[str]) -> list[bytes]:
        return [self._values[key] for key in keys]


if __name__ == "__main__":
    ranks = RankStore(MemoryStore(), attempt=0, size=2)
    ranks.publish(RankBeat(1, phase="data", phase_s=2.0))
    ranks.beats(now=0.0)
    print(later := ranks.beats(now=3.0))
    assert later[0].phase_s == 5.0 and later[0].silent_s == 3.0
    print("=== 自测通过 ===")
