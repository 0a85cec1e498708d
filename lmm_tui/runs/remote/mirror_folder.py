"""The local copy of a remote run's files: a run directory that every reader of runs can read.

It holds what was understood, and no more of a file than a person would watch.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import ACTIVE_STATES
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import appending
from lmm_tui.message import Message
from lmm_tui.runs.remote.messages import GROWING, Growth, InfoUpdate, StatusUpdate, WireError

MOST_BYTES = {"metrics.jsonl": 1 << 30, "events.jsonl": 1 << 28, "samples.jsonl": 1 << 28}
_LONGEST_LINE = 4 << 20
"""Readers keep a line whole until it ends."""


class RemoteError(LmmError):
    """A run on another machine cannot be reached or mirrored."""


class MirrorFolder:
    def __init__(self, run_dir: RunDir, socket: Path) -> None:
        """`socket` is where commands to the mirror go."""
        self._run_dir = run_dir
        self._socket = socket
        self._unended = dict.fromkeys(GROWING, 0)
        """Bytes of each file after its last line end."""
        self.replaced = False
        """Whether the last update replaced something, which a run does fifteen times a second."""

    def sizes(self) -> dict[str, int]:
        """The bytes that are here of each file that grows."""
        return {name: self._size(name) for name in GROWING}

    def take(self, update: InfoUpdate | StatusUpdate | Growth) -> None:
        """Raises WireError or RemoteError for a part of a file that does not fit, OSError."""
        self.replaced = True
        match update:
            case InfoUpdate(info):
                self._run_dir.write_info(replace(info, socket=str(self._socket)))
            case StatusUpdate(status, age):
                self._run_dir.write_status(replace(status, heartbeat=time.time() - age))
            case Growth():
                self._grow(update)

    def tell_lost(self, why: str) -> None:
        """Show in the run's header that the connection is made again."""
        status = self._run_dir.read_status()
        if why and status.state in ACTIVE_STATES:
            activity = Message("connection lost ({why}); connecting again", why=why)
            self._run_dir.write_status(replace(status, activity=activity))

    def _grow(self, growth: Growth) -> None:
        size, most = self._size(growth.file), MOST_BYTES[growth.file]
        added = growth.add.encode("utf-8", "replace")
        if not added or growth.at not in (0, size):
            raise WireError("a part of {file} that does not follow", file=growth.file)
        if growth.at + len(added) > most:
            raise RemoteError(
                "{file} has more than {most} MB; copy the run to this machine and open the copy",
                file=growth.file,
                most=most >> 20,
            )
        unended = len(added) - (added.rfind(b"\n") + 1)
        if len(added) == unended and growth.at:
            unended += self._unended[growth.file]
        if unended > _LONGEST_LINE:
            raise WireError(
                "a line of more than {longest_line} MB", longest_line=_LONGEST_LINE >> 20
            )
        self._unended[growth.file] = unended
        self.replaced = growth.at < size
        with appending(self._run_dir.path / growth.file) as file:
            file.truncate(growth.at)
            file.write(added)

    def _size(self, name: str) -> int:
        path = self._run_dir.path / name
        return path.stat().st_size if path.exists() else 0


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        folder = MirrorFolder(RunDir(scratch), Path("control.sock"))
        folder.take(Growth("metrics.jsonl", 0, "{}\n"))
        print(folder.sizes())
        try:
            folder.take(Growth("metrics.jsonl", 9, "{}\n"))
        except WireError as refused:
            print(refused)
    print("=== 自测通过 ===")
