"""The checkpoints of a run: losses, size, parts, and why retention keeps each of them.

It reads names, sizes and state.json, never a tensor, and only checkpoints that have changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmm_tui.engine.checkpoints.checkpoint_files import (
    STATE,
    TRAINING,
    CheckpointError,
    Retention,
    kept_by,
    read_state,
)
from lmm_tui.engine.run.checkpoint_names import checkpoint_step
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.setting_changes import settings_table
from lmm_tui.guarded_files import files_below, is_file, kind_of
from lmm_tui.i18n.language import mark

ADAPTER = "adapter"
_PARTS = (
    ("model.safetensors", mark("weights")),
    (TRAINING, mark("optimizer")),
    (ADAPTER, mark("adapter")),
)


@dataclass(frozen=True)
class ListedCheckpoint:
    """One checkpoint; `written` is unix seconds, losses are nats per token."""

    path: Path
    step: int
    tokens: int
    loss: float | None
    val_loss: float | None
    val_step: int | None
    """Where `val_loss` was measured: None at the checkpoint's own step, or if that is unknown."""
    bytes: int
    written: float
    parts: tuple[str, ...]
    kept: tuple[str, ...]
    """Why it is kept: any of `last`, `best`, `every`, `pinned`."""
    trouble: str = ""
    """Why its state cannot be read; empty if it can."""

    @property
    def borrowed(self) -> bool:
        """Whether its validation loss was measured at an earlier step."""
        return self.val_step not in (None, self.step)

    @property
    def pinned(self) -> bool:
        return "pinned" in self.kept


class CheckpointList:
    """Lists the checkpoints of one run, with a cache. Not thread-safe."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._known: dict[Path, tuple[object, ListedCheckpoint]] = {}

    def read(self) -> tuple[ListedCheckpoint, ...]:
        """All checkpoints, the newest first."""
        found: dict[Path, tuple[object, ListedCheckpoint]] = {}
        for path, kept in kept_by(self._run.checkpoints, retention_of(self._run)).items():
            try:
                stamp = (path / STATE).stat().st_mtime_ns, kept
            except OSError:
                stamp = 0, kept
            known = self._known.get(path)
            if known is not None and known[0] == stamp:
                found[path] = known
            else:
                try:
                    found[path] = stamp, _read_checkpoint(path, kept)
                except OSError:
                    continue  # It was pruned meanwhile.
        self._known = found
        return tuple(listed for _, listed in found.values())[::-1]


def retention_of(run: RunDir) -> Retention:
    """The retention in the run's settings; if they cannot be read, the newest three."""
    try:
        log = settings_table(run)["log"]
        return Retention(int(log["keep"]), int(log["keep_best"]), int(log["keep_every"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Retention(last=3)


def best_of(checkpoints: tuple[ListedCheckpoint, ...]) -> ListedCheckpoint | None:
    """The checkpoint with the lowest validation loss of its own."""
    validated = [one for one in checkpoints if one.val_loss is not None and not one.borrowed]
    return min(validated, key=lambda one: one.val_loss or 0.0, default=None)


def _read_checkpoint(path: Path, kept: tuple[str, ...]) -> ListedCheckpoint:
    files = [file.lstat().st_size for file in files_below(path, path)]
    written = (path / STATE if is_file(path / STATE, path) else path).lstat().st_mtime
    state: dict[str, Any] = {}
    trouble = ""
    try:
        state = read_state(path)
    except CheckpointError as error:
        trouble = str(error)
    tokens = state.get("tokens")
    return ListedCheckpoint(
        path,
        checkpoint_step(path),
        tokens if isinstance(tokens, int) else 0,
        _finite(state.get("loss")),
        _finite(state.get("val_loss")),
        measured if isinstance(measured := state.get("val_step"), int) else None,
        sum(files),
        written,
        tuple(part for name, part in _PARTS if kind_of(path / name, path)),
        kept,
        trouble,
    )


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step-000000010"
        path.mkdir()
        print(_read_checkpoint(path, ("last",)))
    print("=== 自测通过 ===")
