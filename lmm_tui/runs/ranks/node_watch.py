"""A thread of the supervisor: once a second it looks at the ranks, for screens and events.

On the first node it keeps ranks.json and supervisor.json. On every node it tells what the GPUs
report, and signals ranks that do not write their stacks when asked.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from contextlib import suppress

from lmm_tui.engine.parallel.beats import stacks_file
from lmm_tui.engine.parallel.hangs import Hang
from lmm_tui.engine.parallel.rank_store import RankStore, connect
from lmm_tui.engine.parallel.rank_watch import LOOK_EVERY_S, RankWatch
from lmm_tui.engine.run.rank_records import RankTable
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.runs import nvidia_cards
from lmm_tui.runs.gpu_cards import Card, visible
from lmm_tui.runs.ranks.supervisor_file import SupervisorFile

_BY_SIGNAL_AFTER_S = 1.5
"""A rank whose interpreter is locked by C++ code does not obey the store."""
_log = logging.getLogger("engine")


class NodeWatch(threading.Thread):
    """Told of each attempt by `begin`."""

    def __init__(
        self, run: RunDir, address: tuple[str, int], file: SupervisorFile, *, on_gpus: bool
    ) -> None:
        super().__init__(name="ranks", daemon=True)
        self._run = run
        self._address = address
        self._file = file
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._attempt: tuple[int, int, dict[int, int]] | None = None
        self._begun = 0.0
        self._cards = nvidia_cards.reader() if on_gpus else None

    def begin(self, attempt: int, size: int, pids: dict[int, int]) -> None:
        """Watch these ranks from now on; `pids` are those of this node, by rank."""
        with self._lock:
            self._attempt, self._begun = (attempt, size, pids), time.time()

    def close(self) -> None:
        self._done.set()
        self.join(5.0)

    def run(self) -> None:
        store = connect(self._address)
        watched: tuple[int, int, dict[int, int]] | None = None
        ranks: RankStore | None = None
        watch: RankWatch | None = None
        stacks = _Stacks(self._run)
        while not self._done.wait(LOOK_EVERY_S):
            with self._lock:
                attempt = self._attempt
            if attempt is None:
                continue
            if attempt != watched:
                watched = attempt
                ranks = RankStore(store, attempt[0], attempt[1])
                watch = RankWatch(self._run, ranks, attempt[0], self._tell_hang)
                stacks.begin(*attempt)
            assert ranks is not None and watch is not None
            try:
                self._look(ranks, watch)
                stacks.obey(ranks)
            except OSError as error:  # A full disk; what follows may be written again.
                _log.warning("ranks.json cannot be written: %s", error)
            except Exception:
                _log.exception("the ranks are not watched any more")
                return

    def _look(self, ranks: RankStore, watch: RankWatch) -> None:
        if self._cards is not None:
            ranks.publish_cards(socket.gethostname(), visible(self._cards()))
        if not self._file.writes:
            return
        watch.pass_on_requests()
        table = watch.look()
        restarting = self._file.record.state == "restarting"
        came_back = restarting and (_all_train(table) or self._rank_0_trains())
        self._file.update(**({"state": "running"} if came_back else {}))

    def _rank_0_trains(self) -> bool:
        """Whether it has said so since this attempt began."""
        status = self._run.read_status()
        return status.state in ("running", "paused") and status.heartbeat > self._begun

    def _tell_hang(self, hang: Hang, step: int) -> None:
        self._file.write_event("alert", hang.sentence, step, rule="hang", ranks=list(hang.ranks))


class _Stacks:
    """Signals the ranks of this node whose stacks do not come."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._attempt, self._pids = 0, dict[int, int]()
        self._answered = 0
        self._sizes: dict[int, int] = {}
        self._due = 0.0

    def begin(self, attempt: int, size: int, pids: dict[int, int]) -> None:
        self._attempt, self._pids, self._answered = attempt, pids, 0

    def obey(self, ranks: RankStore) -> None:
        asked = ranks.asked_for_stacks()
        if asked > self._answered:
            self._answered = asked
            self._sizes = {rank: self._size(rank) for rank in self._pids}
            self._due = time.monotonic() + _BY_SIGNAL_AFTER_S
        if self._sizes and time.monotonic() > self._due:
            for rank, before in self._sizes.items():
                # A rank without a file has not begun: it does not expect the signal yet.
                if 0 <= before == self._size(rank):
                    with suppress(ProcessLookupError):
                        os.kill(self._pids[rank], signal.SIGUSR1)
            self._sizes = {}

    def _size(self, rank: int) -> int:
        try:
            return stacks_file(self._run, self._attempt, rank).stat().st_size
        except OSError:
            return -1


def _all_train(table: RankTable) -> bool:
    """Whether all ranks are back, and have made a step."""
    return not table.missing and all(beat.step_s is not None for beat in table.ranks)


if __name__ == "__main__":
    print(visible([Card("a"), Card("b")], {"CUDA_VISIBLE_DEVICES": "1"}))
    print("=== 自测通过 ===")
