"""Writes checkpoints in a background thread, at most one at a time.

It gets a copy of the state, and reports through a callback whether it could be written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol

from lmm_tui.engine.checkpoints import checkpoint
from lmm_tui.engine.checkpoints.checkpoint import Snapshot
from lmm_tui.engine.checkpoints.checkpoint_files import CheckpointError, Retention

PATIENCE_S = 10.0
"""How long training waits for the previous checkpoint when the next one is due."""


class OnOutcome(Protocol):
    """Called in the writing thread with the path of a checkpoint, or why there is none."""

    def __call__(self, step: int, outcome: Path | CheckpointError) -> None: ...


class BackgroundSaver:
    """Saves into one folder; the files `records` are on disk before a checkpoint of their steps."""

    def __init__(
        self,
        folder: Path,
        records: Sequence[Path],
        settle_records: Callable[[], None],
        on_outcome: OnOutcome,
    ) -> None:
        """`settle_records` returns once all rows for `records` are written, or refused."""
        self._folder = folder
        self._records = records
        self._settle_records = settle_records
        self._on_outcome = on_outcome
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._last: Future[Path] | None = None
        self._step = -1
        self._late = False

    def begin(self, step: int, snapshot: Snapshot, retention: Retention) -> None:
        """Write a copy of the state in the background, after the previous one."""
        self._step = step
        self._last = self._thread.submit(self._save, snapshot, retention)

    def adopt(self, step: int, path: Path) -> None:
        """Treat `path` as the checkpoint of `step`."""
        self._step, self._last = step, Future()
        self._last.set_result(path)

    def forget(self) -> None:
        """The last checkpoint no longer exists."""
        self._step, self._last = -1, None

    def has(self, step: int) -> bool:
        """Whether the state after `step` is saved or being written; False once that failed."""
        if self._last is None or self._step != step:
            return False
        return not self._last.done() or self._last.exception() is None

    def wait(self) -> Path:
        """Wait for the checkpoint that was begun last; its path. Raises its CheckpointError."""
        assert self._last is not None
        return self._last.result()

    def settle(self) -> None:
        """Wait for what is being written; a failure is not raised."""
        if self._last is not None:
            self._last.exception()

    def is_stuck(self) -> bool:
        """Whether a checkpoint is being written that took longer than PATIENCE_S."""
        if self._last is None:
            return False
        self._late = bool(wait([self._last], 0 if self._late else PATIENCE_S).not_done)
        return self._late

    def close(self) -> None:
        """Wait for what is being written."""
        self._thread.shutdown()

    def _save(self, snapshot: Snapshot, retention: Retention) -> Path:
        step = snapshot.state.step
        self._settle_records()
        try:
            path = checkpoint.save(self._folder, snapshot, retention, self._records)
        except CheckpointError as error:
            self._on_outcome(step, error)
            raise
        self._on_outcome(step, path)
        return path


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.checkpoints.checkpoint import CheckpointState

    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        saver = BackgroundSaver(place, (), lambda: None, lambda step, outcome: None)
        saver.begin(1, Snapshot.take(CheckpointState(1, 0, "x"), {}, {}), Retention(last=1))
        print(saver.wait().name, saver.has(1))
        saver.close()
    print("=== 自测通过 ===")
