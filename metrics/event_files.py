"""Scalars out of TensorBoard event files, of ours and of anybody else's, into a store.

What a restarted session supersedes is dropped, as TensorBoard drops it. Knows the event format
through tensorboard's own loader, which is imported when something is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metrics.rows import Row, add_rows
from metrics.series import SeriesStore


def find_event_files(folder: Path) -> list[Path]:
    """The event files right in a folder, in the order in which they were begun."""
    return sorted(path for path in folder.glob("*tfevents*") if path.is_file())


def read_event_files(paths: list[Path]) -> SeriesStore:
    """All scalars of the files as one run; a file that ends torn counts up to there."""
    store = SeriesStore()
    add_rows(store, event_rows(paths))
    return store


def event_rows(paths: list[Path]) -> list[Row]:
    """What `read_event_files` puts in its store: a row a step, in order, by tag."""
    points: dict[str, dict[int, float]] = {}
    times: dict[int, float] = {}
    for path in paths:
        for event in _events(path):
            if event.HasField("session_log"):
                _drop_from(event.step, points)
            for value in event.summary.value:
                number = _scalar(value)
                if number is not None:
                    points.setdefault(value.tag, {})[event.step] = number
                    times[event.step] = event.wall_time
    rows: dict[int, Row] = {step: {"step": step, "time": at} for step, at in times.items()}
    for tag, found in points.items():
        for step, number in found.items():
            rows[step][tag] = number
    return [rows[step] for step in sorted(rows) if len(rows[step]) > 2]


def _events(path: Path) -> Iterator[Any]:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    yield from LegacyEventFileLoader(str(path)).Load()


def _drop_from(step: int, points: dict[str, dict[int, float]]) -> None:
    """A session that starts at `step` supersedes what an earlier one wrote from there on."""
    for tag, found in points.items():
        points[tag] = {at: number for at, number in found.items() if at < step}


def _scalar(value: Any) -> float | None:
    """Old events hold the number as such, those of TensorFlow 2 in a tensor."""
    if value.HasField("simple_value"):
        return value.simple_value
    if not value.HasField("tensor"):
        return None
    from tensorboard.util.tensor_util import make_ndarray

    array = make_ndarray(value.tensor)
    return float(array) if array.size == 1 and array.dtype.kind in "fiu" else None


if __name__ == "__main__":
    import tempfile

    from metrics.mirror import TensorBoardMirror

    with tempfile.TemporaryDirectory() as folder:
        for first in (0, 5):
            mirror = TensorBoardMirror(Path(folder))
            for at in range(first, first + 8):
                mirror.write(at, 1e9 + at, {"train/loss": float(at + first)})
            mirror.close()
        series = read_event_files(find_event_files(Path(folder))).get("train/loss")
        assert series is not None
        print(series.steps.tolist(), series.values.tolist())
        assert series.steps.tolist() == list(range(13)) and series.last_value == 17.0
    print("=== 自测通过 ===")
