"""Export a store for other programs: as CSV, JSON lines, Parquet or TensorBoard events."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmm_tui.errors import LmmError
from lmm_tui.metrics.formula_cells import quoted_formula
from lmm_tui.metrics.series.row_values import MAX_STEP
from lmm_tui.metrics.series.rows import rows_of
from lmm_tui.metrics.series.series import SeriesStore
from lmm_tui.metrics.values import strict


class ExportError(LmmError):
    """A target that cannot be written."""


@dataclass(frozen=True)
class Part:
    """The steps from `first` to `last`, both included, of the metrics `only`, or of all."""

    first: int = -MAX_STEP
    last: int = MAX_STEP
    only: Sequence[str] | None = None

    def columns(self, store: SeriesStore) -> list[str]:
        return store.names() if self.only is None else list(self.only)

    def rows(self, store: SeriesStore) -> list[tuple[int, float, dict[str, float]]]:
        return rows_of(store, self.first, self.last, self.only)


WHOLE = Part()


def export_csv(store: SeriesStore, target: Path, part: Part = WHOLE) -> None:
    """A row for each step; an empty cell means not measured, `nan` and `inf` are values.

    The name of a metric that a spreadsheet would take for a formula gets a `'`, as spreadsheets
    mark text; control characters in a name are written as `\\x1b`.
    """
    columns = part.columns(store)
    with target.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "time", *map(_as_text, columns)])
        for step, at, row in part.rows(store):
            time = at if math.isfinite(at) else ""
            writer.writerow([step, time, *(row.get(name, "") for name in columns)])


def _as_text(name: str) -> str:
    plain = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in name
    )
    return quoted_formula(plain)


def export_jsonl(store: SeriesStore, target: Path, part: Part = WHOLE) -> None:
    """The rows of a metrics.jsonl, without those that a resumed run superseded."""
    with target.open("x", encoding="utf-8") as file:
        for step, at, row in part.rows(store):
            time = {"time": at} if math.isfinite(at) else {}
            file.write(json.dumps({"step": step, **time, **strict(row)}) + "\n")


def export_tensorboard(store: SeriesStore, target: Path, part: Part = WHOLE) -> None:
    """One event file in a new folder; TensorBoard keeps values as 32-bit floats."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    target.mkdir()
    writer = EventFileWriter(str(target))
    for step, at, row in part.rows(store):
        values = [Summary.Value(tag=name, simple_value=value) for name, value in row.items()]
        time = at if math.isfinite(at) else 0.0
        writer.add_event(Event(step=step, wall_time=time, summary=Summary(value=values)))
    writer.close()


def export_parquet(store: SeriesStore, target: Path, part: Part = WHOLE) -> None:
    """A row for each step in 64-bit columns; null means not measured.

    Raises ExportError if pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ExportError(
            f"{target}: Parquet needs pyarrow; install it (`pip install pyarrow`) or choose csv"
        ) from None

    rows = part.rows(store)
    columns = {
        "step": pa.array([step for step, _, _ in rows], pa.int64()),
        "time": pa.array([at if math.isfinite(at) else None for _, at, _ in rows], pa.float64()),
    }
    for name in part.columns(store):
        columns[name] = pa.array([row.get(name) for _, _, row in rows], pa.float64())
    with target.open("xb") as file:
        pq.write_table(pa.table(columns), file)


FORMATS: dict[str, Callable[[SeriesStore, Path, Part], None]] = {
    "csv": export_csv,
    "jsonl": export_jsonl,
    "tensorboard": export_tensorboard,
    "parquet": export_parquet,
}


def export(store: SeriesStore, to: str, target: Path, part: Part = WHOLE) -> None:
    """Write a part of `store` in one of FORMATS; never replaces a file. Raises ExportError."""
    try:
        FORMATS[to](store, target, part)
    except OSError as error:
        raise ExportError(f"{target}: {error.strerror}; name another place with -o") from None


if __name__ == "__main__":
    import tempfile

    demo = SeriesStore()
    demo.append({"step": 1, "train/loss": 2.5, "val/loss": "NaN"})
    with tempfile.TemporaryDirectory() as folder:
        export(demo, "csv", Path(folder) / "demo.csv")
        print((Path(folder) / "demo.csv").read_text())
    print("=== 自测通过 ===")
