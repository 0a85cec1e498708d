"""torchelastic's agent for one node: starts the local ranks, and all again when one has died.

What differs from `torchrun`: a log a rank and attempt in the run directory; survivors of a dead
rank, which hang in a collective, are killed after a second, not after 30; settings that a rank
refuses are not tried again; all nodes count the same attempts; each attempt has a fresh store.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing.api import LogsDest, LogsSpecs

from lmm_tui.engine.run.rank_records import REFUSED, RankEnd

_LAST_WORDS_S = 1.0
"""For the other ranks to say why they end, once one has."""
_TAIL = 1 << 14


class RankLogs(LogsSpecs):
    """`rank-N.log` in the folder of each attempt: `rank_process` sends its errors there too."""

    def __init__(self, folder_of: Callable[[int], Path]) -> None:
        super().__init__()
        self._folder_of = folder_of

    @property
    def root_log_dir(self) -> str:
        return str(self._folder_of(0).parent)

    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        found = LogsDest()
        for local_rank, env in envs.items():
            folder = self._folder_of(int(env["TORCHELASTIC_RESTART_COUNT"]))
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found.stdouts[local_rank] = str(log_file(folder, int(env["RANK"])))
            found.stderrs[local_rank] = os.devnull
            found.error_files[local_rank] = env["TORCHELASTIC_ERROR_FILE"] = os.devnull
        return found


class RankAgent(LocalElasticAgent):
    """`on_attempt` is called with the attempt and the number of ranks, `on_ends` with how the
    ranks of this node ended that made the group fail."""

    def __init__(
        self,
        spec: Any,
        logs: RankLogs,
        *,
        node: str,
        grace_s: float,
        on_attempt: Callable[[int, int, dict[int, int]], object],
        on_ends: Callable[[list[RankEnd], bool], object],
    ) -> None:
        # The barrier at the end waits for other nodes, one of which may have been told to stop.
        super().__init__(spec, logs, exit_barrier_timeout=10, shutdown_timeout=int(grace_s))
        self._node = node
        self._folder_of = logs._folder_of
        self._on_attempt = on_attempt
        self._on_ends = on_ends
        self._killed: set[int] = set()
        """Local ranks of this attempt that were killed because another had died."""

    @property
    def attempt(self) -> int:
        """From 0."""
        return self._worker_group.spec.max_restarts - self._remaining_restarts

    def _rendezvous(self, worker_group: WorkerGroup) -> None:
        # The handler would keep the store of the first attempt, with the addresses of the dead
        # in it: gloo connects to them, and every attempt after the first fails.
        handler: Any = worker_group.spec.rdzv_handler
        handler._shared_tcp_store_server = handler._bootstrap_store_info = None
        super()._rendezvous(worker_group)

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        self._agree_on_the_attempt(worker_group)
        self._killed = set()
        pids = super()._start_workers(worker_group)
        ranks = {worker.global_rank: pids[worker.local_rank] for worker in worker_group.workers}
        self._on_attempt(self.attempt, worker_group.workers[0].world_size, ranks)
        return pids

    def _agree_on_the_attempt(self, worker_group: WorkerGroup) -> None:
        """A node that only saw the others start anew has not counted: the largest number counts."""
        store, nodes = worker_group.store, worker_group.group_world_size
        if nodes == 1 or store is None:
            return
        store.set(f"attempt-{worker_group.group_rank}", str(self.attempt))
        counts = [int(store.get(f"attempt-{node}")) for node in range(nodes)]
        self._remaining_restarts = worker_group.spec.max_restarts - max(counts)

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        failed = self._failed_workers(worker_group)
        if failed:
            self._end_survivors()
            failed = self._failed_workers(worker_group)
            refused = any(end.code == REFUSED for end in failed)
            if refused:
                self._remaining_restarts = 0
            self._on_ends(failed, self._remaining_restarts > 0)
        return super()._monitor_workers(worker_group)

    def _stop_workers(self, worker_group: WorkerGroup) -> None:
        self._end_survivors()
        super()._shutdown()

    def _shutdown(self, death_sig: signal.Signals = signal.SIGTERM, timeout: int = 30) -> None:
        # Schedulers repeat SIGTERM: once is enough, and a second must not cut the checkpoint off.
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(ValueError):
                signal.signal(number, signal.SIG_IGN)
        super()._shutdown(signal.SIGTERM if death_sig == signal.SIGINT else death_sig, timeout)

    def _processes(self) -> dict[int, Any]:
        """Of the local ranks."""
        handlers = getattr(self._pcontext, "subprocess_handlers", {})
        return {local_rank: handler.proc for local_rank, handler in handlers.items()}

    def _failed_workers(self, worker_group: WorkerGroup) -> list[RankEnd]:
        now, ends = time.time(), []
        ranks = {worker.local_rank: worker.global_rank for worker in worker_group.workers}
        for local_rank, process in self._processes().items():
            code = process.poll()
            if not code or local_rank in self._killed:
                continue
            rank = ranks[local_rank]
            error = last_line(log_file(self._folder_of(self.attempt), rank))
            ends.append(RankEnd(rank, self._node, self.attempt, code, error, now))
        return ends

    def _end_survivors(self) -> None:
        """Give those that still run a moment for their own error, then kill them with their
        children: they hang in a collective with the dead, and have nothing to save."""
        deadline = time.monotonic() + _LAST_WORDS_S
        for local_rank, process in self._processes().items():
            with suppress(Exception):
                process.wait(max(deadline - time.monotonic(), 0.0))
            if process.poll() is None:
                self._killed.add(local_rank)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def log_file(folder: Path, rank: int) -> Path:
    """Of a rank in the folder of an attempt."""
    return folder / f"rank-{rank}.log"


def last_line(path: Path) -> str:
    """The last line with text in it, of a file that may not exist."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:500]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        logs = RankLogs(lambda attempt: Path(folder) / f"attempt-{attempt}")
        dest = logs.reify({0: {"TORCHELASTIC_RESTART_COUNT": "1", "RANK": "3"}})
        print(dest.stdouts)
        assert dest.stdouts[0].endswith("attempt-1/rank-3.log")
    print(WorkerState.HEALTHY)
    print("=== 自测通过 ===")
