"""Keeps supervisor.json: the state of the ranks, the attempt, and how ranks ended.

Each node tells the first one by the store how its ranks ended; only the first writes.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import psutil

from lmm_tui.engine.parallel.rank_store import KeyStore
from lmm_tui.engine.run.events import EventLog
from lmm_tui.engine.run.rank_records import (
    OUT_OF_MEMORY,
    RankEnd,
    SupervisorRecord,
    last_ends,
    write_supervisor,
)
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import ACTIVE_STATES
from lmm_tui.message import Message


class SupervisorFile:
    """Of the supervisor in this process."""

    def __init__(
        self, run: RunDir, store: KeyStore, nodes: Sequence[str], index: int, restarts: int
    ) -> None:
        self._run = run
        self._store = store
        self._nodes = nodes
        self._index = index
        self._own: list[dict[str, Any]] = []
        self.record = SupervisorRecord(
            restarts=restarts,
            nodes=len(nodes),
            pid=os.getpid(),
            pid_started=psutil.Process().create_time(),
            host=socket.gethostname(),
        )
        self.update()

    @property
    def writes(self) -> bool:
        return self._index == 0

    def update(self, **changes: Any) -> None:
        """Write the record with a fresh heartbeat."""
        ends = self._ends()
        attempts = {end["attempt"] for end in ends if end["code"] == OUT_OF_MEMORY}
        self.record = replace(
            self.record,
            **changes,
            heartbeat=time.time(),
            ends=ends,
            out_of_memory=len(attempts),
        )
        if self.writes:
            write_supervisor(self._run.supervisor_file, self.record)

    def add_ends(self, ends: Sequence[RankEnd]) -> None:
        """Note how ranks of this node ended, before what they do to the state is told."""
        self._own += [asdict(end) for end in ends]
        self._store.set(self._key(self._index), json.dumps(self._own))

    def tell_restart(self) -> None:
        """As an event, with who ended how; once a restart, by the first node."""
        if not self.writes:
            return
        attempt, most = self.record.attempt, self.record.restarts
        step = self._run.read_status().step
        ends = last_ends(self.record) if self.record.ends else []
        text = Message(
            "{why}; all ranks start again from the last checkpoint, restart {attempt} of {most}",
            why=ends[0].sentence if ends else Message("the ranks of another node ended"),
            attempt=attempt,
            most=most,
        )
        self.write_event("alert", text, step)

    def conclude(self, state: str) -> None:
        """The end of the run: finished, stopped or failed."""
        self.update(state=state)
        if not self.writes or state != "failed":
            return
        status = self._run.read_status()
        sentence = self.why_it_failed()
        if status.state in ACTIVE_STATES or not status.error:
            self._run.write_status(replace(status, state="failed", error=sentence))
        self.write_event("error", sentence, status.step)

    def why_it_failed(self) -> Message:
        """Which rank ended how, and whether restarts were used up."""
        ends = last_ends(self.record) if self.record.ends else []
        why = ends[0].sentence if ends else Message("the ranks of another node ended")
        used = self.record.attempt
        if used and used >= self.record.restarts:
            return Message("{why}; {used} of {used} restarts are used up", why=why, used=used)
        return why

    def write_event(self, kind: Any, text: Message, step: int, **details: Any) -> None:
        """An event of the run, from this process."""
        events = EventLog(self._run)
        events.write(kind, text, step=step, level="error", **details)
        events.close()

    def _ends(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for index in range(len(self._nodes)):
            if self._store.check([self._key(index)]):
                found += json.loads(self._store.get(self._key(index)))
        return sorted(found, key=lambda end: (end["attempt"], end["at"]))

    def _key(self, index: int) -> str:
        return f"lmm-tui/ends-{index}"


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.parallel.rank_store import MemoryStore

    with tempfile.TemporaryDirectory() as folder:
        file = SupervisorFile(RunDir(folder), MemoryStore(), ["node1"], 0, restarts=1)
        file.add_ends([RankEnd(1, "node1", 0, -9)])
        file.update(state="restarting", attempt=1)
        file.tell_restart()
        print(file.record.restarting, file.why_it_failed())
        assert file.record.restarting == "1/1"
    print("=== 自测通过 ===")
