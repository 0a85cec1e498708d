"""The remote end of a fleet: sends what `run.json` and `status.json` of all runs of a folder say.

A run that is opened is served by a `RunServer` of its own. It ends when its input is closed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

from lmm_tui.engine.run.find_run import run_folders
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir_error import RunDirError
from lmm_tui.engine.run.run_records import ACTIVE_STATES
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import read_text, version_of
from lmm_tui.runs.remote.messages import MOST_RUNS
from lmm_tui.runs.remote.protocol import Sender

_EVERY_S = 1.0


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
        self._seen: dict[str, object] = {}
        self._readers: dict[str, Reader] = {}

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
                self._sender.send({"run": name, "gone": True})
        self._readers = {name: it for name, it in self._readers.items() if name in runs}
        for name, run in runs.items():
            with contextlib.suppress(LmmError):  # One that cannot be read is left out.
                self._send_run(name, self._reader(name, run.path))
        self._sender.send({"listed": len(runs)})

    def _reader(self, name: str, path: Path) -> Reader:
        if name not in self._readers:
            self._readers[name] = Reader(path)
        return self._readers[name]

    def _send_run(self, name: str, reader: Reader) -> None:
        run, view = reader.run_dir, reader.look()
        status, state = view.status, view.state
        version = version_of(run.info_file), version_of(run.status_file), state
        if self._seen.get(name) == version:
            return
        text = read_text(run.info_file, run.path)
        # What is silent is found out by the age of its heartbeat.
        sent = status if state == "stale" else replace(status, state=state)
        age = time.time() - status.heartbeat if state in ACTIVE_STATES else 0.0
        record = asdict(replace(sent, heartbeat=0.0 if age else status.heartbeat))
        self._sender.send({"run": name, "file": "run.json", "text": text})
        self._sender.send({"run": name, "file": "status.json", "status": record, "age": age})
        self._seen[name] = version

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
