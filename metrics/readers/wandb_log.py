"""The history in a `.wandb` file of Weights & Biases, followed while it is written, without wandb.

It knows where such files are and when they grow; what is in them, `wandb_frames` and
`wandb_history` know.
"""

from __future__ import annotations

import time
from pathlib import Path

from lmm_tui.guarded_files import reading
from lmm_tui.metrics.readers.metric_names import MetricNamer
from lmm_tui.metrics.readers.wandb_frames import BLOCK, Frames
from lmm_tui.metrics.readers.wandb_history import HistoryReader
from lmm_tui.metrics.series.series import SeriesStore

_CHUNK_BYTES = 32 * BLOCK
_MOST_REREADS = 8


def find_wandb_file(folder: Path) -> Path | None:
    """The log in the folder of a run of wandb's, or of the newest run in `wandb/`, or None."""
    # Their names begin with when they began.
    runs = sorted(folder.glob("*run-*/"), key=lambda run: run.name.removeprefix("offline-"))
    for place in (folder, *reversed(runs)):
        found = next((path for path in sorted(place.glob("run-*.wandb")) if path.is_file()), None)
        if found:
            return found
    return None


class WandbFollower:
    """Keeps a store up to date with one file."""

    def __init__(self, path: Path, store: SeriesStore) -> None:
        self.behind = False
        """Whether the file holds more than has been read so far."""
        self._path = path
        self._store = store
        self._seen: tuple[int, int, int] | None = None
        self._namer = MetricNamer()
        self._rereads = 0
        self._begin()

    def _begin(self, step_metric: str | None = None) -> None:
        self._frames = Frames()
        self._namer.restart()
        self._history = HistoryReader(self._store, self._namer, step_metric or "_step")
        self._unreadable = 0

    @property
    def notes(self) -> list[str]:
        """What was done with rows whose steps do not simply increase."""
        return self._history.placer.notes

    @property
    def bad_lines(self) -> int:
        """Records that could not be read."""
        return self._frames.damaged + self._unreadable

    def poll(self, budget_s: float | None = None) -> bool:
        """Read what is new, for at most about `budget_s` seconds; True where that was anything."""
        deadline = None if budget_s is None else time.perf_counter() + budget_s
        before = self._store.version, self.bad_lines
        try:
            found = self._path.stat()
            seen = found.st_ino, found.st_size, found.st_mtime_ns
            if seen == self._seen and not self.behind:
                return False
            if self._seen and (seen[0] != self._seen[0] or seen[1] < self._seen[1]):
                self._store.clear()
                self._begin()
            self._seen = seen
            with reading(self._path) as file:
                self.behind = True
                while self.behind:
                    offset = file.seek(self._frames.offset)
                    data = file.read(_CHUNK_BYTES - offset % BLOCK)
                    self.behind = offset + len(data) < seen[1]
                    self._unreadable += self._history.add(self._frames.take(data))
                    if self._must_begin_again():
                        self._store.clear()
                        self._begin(self._history.better_step_metric or self._history.step_metric)
                        self.behind = True
                    if deadline and time.perf_counter() >= deadline:
                        break
        except OSError:
            self.behind = False
        return (self._store.version, self.bad_lines) != before

    def _must_begin_again(self) -> bool:
        """Whether a better step, or a better name of a metric, has come; seldom, and early."""
        if not (self._namer.contested or self._history.better_step_metric):
            return False
        self._rereads += 1
        return self._rereads <= _MOST_REREADS


if __name__ == "__main__":
    import tempfile
    import zlib

    from lmm_tui.metrics.readers.wandb_frames import FULL, HEADER, MAGIC

    body = bytes.fromhex("1200 0a0b 12055f73746570 82010133 0a0c 12046c6f7373 820103322e35")
    body = body[:1] + bytes([len(body) - 2]) + body[2:]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "offline-run-1" / "run-1.wandb"
        log.parent.mkdir()
        framed = HEADER.pack(zlib.crc32(bytes([FULL]) + body), len(body), FULL) + body
        log.write_bytes(MAGIC + framed + framed[:20])
        series = SeriesStore()
        assert find_wandb_file(Path(folder)) == log
        follower = WandbFollower(log, series)
        assert follower.poll() and not follower.poll()
        print(series.names(), series.last_step, "bad records:", follower.bad_lines)
        assert series.last_step == 3 and not follower.bad_lines
    print("=== 自测通过 ===")
