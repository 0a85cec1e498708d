"""Keeps `ranks.json`, names a hang once, and passes requests for stacks on to the ranks.

One process of a run does this: its supervisor, or rank 0 where another launcher started the ranks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lmm_tui.engine.parallel.hangs import Hang, find_hang
from lmm_tui.engine.parallel.rank_store import RankStore
from lmm_tui.engine.run.rank_records import RankTable, write_ranks
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.guarded_files import read_bytes

LOOK_EVERY_S = 1.0


class RankWatch:
    """Looks at the ranks of one attempt; `on_hang` is called once for each."""

    def __init__(
        self,
        run_dir: RunDir,
        ranks: RankStore,
        attempt: int,
        on_hang: Callable[[Hang, int], object],
    ) -> None:
        """`on_hang` is called with the hang and the step it is in."""
        self._run_dir = run_dir
        self._ranks = ranks
        self._attempt = attempt
        self._on_hang = on_hang
        self._told: tuple[int, ...] | None = None
        self._asked = stack_request(run_dir)

    def look(self) -> RankTable:
        """Read what the ranks say and write it to the run directory."""
        beats = self._ranks.beats()
        hang = find_hang(beats)
        if hang is None:
            self._told = None
        elif self._told != hang.ranks:
            self._told = hang.ranks
            self._on_hang(hang, max(beat.step for beat in beats))
        table = RankTable(
            time.time(),
            self._attempt,
            self._ranks.size,
            "" if hang is None else hang.sentence,
            tuple(beats),
        )
        write_ranks(self._run_dir.ranks_file, table)
        return table

    def pass_on_requests(self) -> int:
        """The number of a new request for stacks, 0 without one."""
        asked = stack_request(self._run_dir)
        if asked <= self._asked:
            return 0
        self._asked = asked
        self._ranks.ask_for_stacks(asked)
        return asked


def stack_request(run_dir: RunDir) -> int:
    """The number of the last request for stacks that somebody left in the run directory."""
    try:
        return int(read_bytes(_request_file(run_dir), run_dir.path, 64))
    except (OSError, ValueError):
        return 0


def request_stacks(run_dir: RunDir) -> None:
    """Leave a request for the stacks of all ranks. Raises OSError."""
    from lmm_tui.guarded_files import replace_text

    replace_text(_request_file(run_dir), f"{time.time_ns()}\n", run_dir.path)


def _request_file(run_dir: RunDir) -> Path:
    return run_dir.ranks / "stacks.request"


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.parallel.rank_store import MemoryStore
    from lmm_tui.engine.run.rank_records import RankBeat, read_ranks

    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(folder)
        run.ranks.mkdir()
        store = RankStore(MemoryStore(), 0, 2)
        watch = RankWatch(run, store, 0, lambda hang, step: print(hang.sentence))
        for rank, phase in enumerate(("data", "all-reduce")):
            store.publish(RankBeat(rank, "node", phase=phase, phase_s=9, step_s=0.1))
        watch.look()
        request_stacks(run)
        assert watch.pass_on_requests() == store.asked_for_stacks() > 0
        print(read_ranks(run.ranks_file))
    print("=== 自测通过 ===")
