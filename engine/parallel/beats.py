"""Beats: what a rank does now, said once a second to the store of its launcher.

The loop sets attributes, which costs well below a microsecond; a thread publishes them through a
connection of its own, so that it works while the loop hangs in a collective.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

from lmm_tui.engine.parallel.hangs import Hang
from lmm_tui.engine.parallel.rank_numbers import STEPS, rank_numbers
from lmm_tui.engine.parallel.rank_store import STORE, KeyStore, RankStore, connect, store_address
from lmm_tui.engine.parallel.rank_watch import LOOK_EVERY_S, RankWatch
from lmm_tui.engine.parallel.stacks import StackFile
from lmm_tui.engine.run.rank_records import RankBeat
from lmm_tui.engine.run.run_dir import RunDir

SUPERVISED_BY = "LMM_TUI_SUPERVISOR"
"""Environment of a rank: the pid of the supervisor that started it."""

_log = logging.getLogger("engine")

OnHang = Callable[[Hang, int], object]


class RankMemory(NamedTuple):
    """Bytes that a rank uses, bytes there are, and of what: `host`, `cuda` or `mps`."""

    used: int
    limit: int
    of: str


def _host_memory() -> RankMemory:
    return RankMemory(psutil.Process().memory_info().rss, psutil.virtual_memory().total, "host")


class Beats:
    """Made by `Beats.start`, or by `Beats.alone` for a run of one process, where it does nothing
    but to measure.

    The loop calls `phase` where it begins something else, and `end_step` after each step. It sets
    `memory` where its device has one of its own, and `checksum` with `checksum_step`, if it knows
    them.
    """

    def __init__(self, rank: int = 0) -> None:
        self.rank = rank
        self.step = 0
        self.step_s: float | None = None
        self.waited_s: float | None = None
        self.data_s: float | None = None
        self.memory: Callable[[], RankMemory] = _host_memory
        """Asked in the thread that publishes."""
        self.checksum = ""
        self.checksum_step = 0
        self._now = ("setup", time.monotonic())
        self._step_began = self._now[1]
        self._spent: dict[str, float] = {}
        self._changes = 0
        self._own = [0.0] * STEPS
        self._steps = 0
        self._publisher: _Publisher | None = None
        self.numbers: dict[str, float] = {}
        """Of all ranks, as metrics for a row; known to rank 0, and a second old at most."""

    @classmethod
    def alone(cls) -> Beats:
        """Of a run of one process: nothing is published."""
        return cls()

    @classmethod
    def start(
        cls,
        run_dir: RunDir,
        on_hang: OnHang = lambda hang, step: None,
        *,
        env: Mapping[str, str] = os.environ,
        store: KeyStore | None = None,
    ) -> Beats:
        """Publish from now on, as the rank that the environment of torchelastic says.

        `on_hang` is called, in the thread, by rank 0 where no supervisor of ours watches.
        """
        beats = cls(int(env.get("RANK", "0")))
        address = store_address(env)
        if store is not None or address is not None:
            beats._publisher = _Publisher(beats, run_dir, on_hang, env, store)
            beats._publisher.start()
        return beats

    def phase(self, name: str) -> None:
        """Say what this rank begins now: data, forward, backward, all-reduce, optimizer,
        validation, checkpoint, sample, paused …"""
        now = time.monotonic()
        before, since = self._now
        self._spent[before] = self._spent.get(before, 0.0) + now - since
        self._now = (name, now)
        self._changes += 1

    def end_step(self, step: int) -> None:
        """After each step: keep its times. That spent in the phase all-reduce is the time waited
        for other ranks."""
        name = self._now[0]
        self.phase(name)
        now, spent = self._now[1], self._spent
        self.step, self.step_s = step, now - self._step_began
        self.waited_s = spent.get("all-reduce", 0.0)
        self.data_s = spent.get("data", 0.0)
        aside = sum(spent.values()) - sum(spent.get(one, 0.0) for one in _OF_A_STEP)
        self._own[self._steps % STEPS] = max(self.step_s - aside - self.waited_s, 0.0)
        self._steps += 1
        self._step_began, self._spent, self._changes = now, {}, 0

    @property
    def own_s(self) -> float | None:
        """Mean over the last 50 steps of a step's time without waiting for others, and without
        what is no part of a step, such as a checkpoint."""
        kept = min(self._steps, STEPS)
        return sum(self._own[:kept]) / kept if kept else None

    def beat(self, node: str = "", local_rank: int = 0) -> RankBeat:
        """What is published now."""
        phase, since = self._now
        memory = self.memory()
        return RankBeat(
            rank=self.rank,
            node=node,
            local_rank=local_rank,
            pid=os.getpid(),
            step=self.step,
            phase=phase,
            phase_s=round(time.monotonic() - since, 3),
            changes=self._changes,
            step_s=self.step_s,
            waited_s=self.waited_s,
            data_s=self.data_s,
            own_s=self.own_s,
            own_steps=min(self._steps, STEPS),
            memory=memory.used,
            memory_limit=memory.limit,
            memory_of=memory.of,
            checksum=self.checksum,
            checksum_step=self.checksum_step,
        )

    def close(self) -> None:
        """Publish a last time and stop."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None


_OF_A_STEP = ("data", "forward", "backward", "all-reduce", "optimizer")


class _Publisher(threading.Thread):
    """Publishes the beats, writes stacks on request, and ends a rank whose supervisor is gone."""

    def __init__(
        self,
        beats: Beats,
        run_dir: RunDir,
        on_hang: OnHang,
        env: Mapping[str, str],
        store: KeyStore | None,
    ) -> None:
        super().__init__(name="beats", daemon=True)
        self._beats = beats
        self._run_dir = run_dir
        self._on_hang = on_hang
        self._env = env
        self._store = store
        self._attempt = int(env.get("TORCHELASTIC_RESTART_COUNT", "0"))
        self._supervisor = int(env.get(SUPERVISED_BY, "0"))
        self._done = threading.Event()
        self._stacks = StackFile(stacks_file(run_dir, self._attempt, beats.rank))

    def run(self) -> None:
        try:
            self._publish()
        except Exception as error:  # The launcher has ended, or the network is gone.
            if not self._done.is_set():
                _log.warning("rank %d: no more beats: %s", self._beats.rank, error)
        self._end_with_the_supervisor()

    def close(self) -> None:
        self._done.set()
        self.join(5.0)
        self._stacks.close()

    def _publish(self) -> None:
        env, beats = self._env, self._beats
        address = store_address(env)
        store = self._store or connect(address)  # type: ignore[arg-type]
        ranks = RankStore(store, self._attempt, int(env.get("WORLD_SIZE", "1")))
        watches = beats.rank == 0 and STORE not in env
        watch = RankWatch(self._run_dir, ranks, self._attempt, self._on_hang) if watches else None
        node, local_rank = socket.gethostname(), int(env.get("LOCAL_RANK", "0"))
        answered = ranks.asked_for_stacks()
        while True:
            last = self._done.wait(0)
            ranks.publish(beats.beat(node, local_rank))
            if watch is not None:
                watch.pass_on_requests()
                beats.numbers = rank_numbers(watch.look().ranks)
            elif beats.rank == 0:
                beats.numbers = rank_numbers(ranks.beats())
            if (asked := ranks.asked_for_stacks()) > answered:
                answered = asked
                self._stacks.write()
            if last or self._orphaned():
                return
            self._done.wait(LOOK_EVERY_S)

    def _orphaned(self) -> bool:
        return bool(self._supervisor) and os.getppid() != self._supervisor

    def _end_with_the_supervisor(self) -> None:
        """A supervisor that was killed restarts nobody, and the ranks would hold their GPUs."""
        if not self._supervisor:
            return
        while not self._orphaned():
            if self._done.wait(LOOK_EVERY_S):
                return
        if not self._done.is_set():
            _log.error("rank %d: its supervisor has ended; stopping", self._beats.rank)
            os.kill(os.getpid(), signal.SIGTERM)


def stacks_file(run_dir: RunDir, attempt: int, rank: int) -> Path:
    """Where a rank writes its stacks."""
    return attempt_folder(run_dir, attempt) / f"rank-{rank}.stacks"


def attempt_folder(run_dir: RunDir, attempt: int) -> Path:
    """Where the logs and stacks of all ranks of one attempt are."""
    return run_dir.ranks / f"attempt-{attempt}"


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.parallel.rank_store import MemoryStore
    from lmm_tui.engine.run.rank_records import read_ranks

    with tempfile.TemporaryDirectory() as folder:
        demo = Beats.start(RunDir(folder), env={"RANK": "0"}, store=MemoryStore())
        for name in ("data", "forward", "backward", "all-reduce", "optimizer"):
            demo.phase(name)
        demo.end_step(1)
        demo.close()
        table = read_ranks(RunDir(folder).ranks_file)
        assert table is not None and table.ranks[0].step == 1
        print(table.ranks[0])
    print("=== 自测通过 ===")
