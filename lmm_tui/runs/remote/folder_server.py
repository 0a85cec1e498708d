"""The remote end of a fleet: sends what `run.json` and `status.json` of all runs of a folder say,
and what a list says beyond them: settings, best value and curve.

A run that is opened is served by a `RunServer` of its own. It ends when its input is closed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from lmm_tui.engine.run.find_run import run_folders
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir_error import RunDirError
from lmm_tui.engine.run.run_records import ACTIVE_STATES
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import read_text, version_of
from lmm_tui.runs.remote.messages import MOST_RUNS
from lmm_tui.runs.remote.protocol import Sender
from lmm_tui.runs.run_details import RunDetails, RunDigest
from lmm_tui.runs.run_list import ListedRun
from lmm_tui.runs.status_text import RunSummary

_EVERY_S = 1.0
_DETAILS_S = 0.2
"""How long a look may read metrics for best values and curves."""


class FolderServer:
    """Serves the list of one folder to one cockpit."""

    def __init__(self, folder: Path, source: IO[bytes], target: IO[bytes]) -> None:
        """Raises RunDirError if `folder` is no folder."""
        if not folder.is_dir():
            raise RunDirError("{folder}: no folder of runs", folder=folder)
        self._folder = folder
        self._source = source
        self._sender = Sender(target)
        self._ended = threading.Event()
        self._readers: dict[str, Reader] = {}
        self._seen: dict[str, tuple[object, ListedRun]] = {}
        self._details = RunDetails(folder)
        self._told: dict[str, tuple[dict[str, Any], RunDigest]] = {}

    def serve(self) -> None:
        """Send changes until the other end closes."""
        threading.Thread(target=self._listen, daemon=True).start()
        with contextlib.suppress(OSError, ValueError):
            while not self._ended.is_set():
                self.send_changes()
                self._ended.wait(_EVERY_S)

    def send_changes(self) -> None:
        """What is new since the last call, and which runs are gone."""
        runs = {run.name: run for run in run_folders(self._folder)[:MOST_RUNS]}
        for name in [*self._seen]:
            if name not in runs:
                del self._seen[name]
                self._told.pop(name, None)
                self._sender.send({"run": name, "gone": True})
        self._readers = {name: it for name, it in self._readers.items() if name in runs}
        for name, run in runs.items():
            with contextlib.suppress(LmmError):  # One that cannot be read is left out.
                if name not in self._readers:
                    self._readers[name] = Reader(run.path)
                self._send_run(name, self._readers[name])
        self._sender.send({"listed": len(runs)})
        self._send_details()

    def _send_run(self, name: str, reader: Reader) -> None:
        run, view = reader.run_dir, reader.look()
        info, status, state = view.info, view.status, view.state
        version = version_of(run.info_file), version_of(run.status_file), state
        if name in self._seen and self._seen[name][0] == version:
            return
        text = read_text(run.info_file, run.path)
        # What is silent is found out by the age of its heartbeat.
        sent = status if state == "stale" else replace(status, state=state)
        age = time.time() - status.heartbeat if state in ACTIVE_STATES else 0.0
        record = asdict(replace(sent, heartbeat=0.0 if age else status.heartbeat))
        self._sender.send({"run": name, "file": "run.json", "text": text})
        self._sender.send({"run": name, "file": "status.json", "status": record, "age": age})
        self._seen[name] = version, ListedRun(RunSummary(run.path, info, status, state))

    def _send_details(self) -> None:
        """Settings, best value and curve of runs of which these are new; the rest follows later."""
        runs = [known for _, known in self._seen.values()]
        self._details.refresh(runs)
        self._details.read_on(runs, _DETAILS_S)
        for run in runs:
            now, digest = self._details.settings(run), self._details.digest(run)
            told = self._told.get(run.name)
            if told is not None and told[0] is now and told[1] == digest:
                continue
            self._told[run.name] = now, digest
            began = now | self._details.changed(run)
            self._sender.send({"run": run.name, "began": began, "now": now, **asdict(digest)})

    def _listen(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while self._source.readline(1 << 10):
                pass
        self._ended.set()


if __name__ == "__main__":
    import tempfile
    from io import BytesIO

    with tempfile.TemporaryDirectory() as folder:
        target = BytesIO()
        FolderServer(Path(folder), BytesIO(), target).send_changes()
        print(len(target.getvalue()), "bytes")
    print("=== 自测通过 ===")
