"""Export a store for other programs: as CSV, JSON lines, Parquet or TensorBoard events.

Rows have their positions on all axes that are known: time, tokens, epoch.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

from lmm_tui.errors import LmmError
from lmm_tui.message import os_reason
from lmm_tui.metrics.formula_cells import quoted_formula
from lmm_tui.metrics.series.row_index import Axis
from lmm_tui.metrics.series.row_values import MAX_STEP
from lmm_tui.metrics.series.rows import positions_of, rows_of
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

    def rows(self, store: SeriesStore) -> list[tuple[int, dict[str, float]]]:
        return rows_of(store, self.first, self.last, self.only)

    def table(self, store: SeriesStore) -> ExportTable:
        rows = self.rows(store)
        return ExportTable(rows, positions_of(store, [step for step, _ in rows]))


@dataclass(frozen=True)
class ExportTable:
    """What an export writes."""

    rows: list[tuple[int, dict[str, float]]]
    positions: dict[Axis, list[float | None]]
    """By axis; an axis on which no row has a position is not there."""

    def on(self, axis: Axis) -> Sequence[float | None]:
        return self.positions.get(axis, [None] * len(self.rows))

    @property
    def extra(self) -> list[Axis]:
        """The axes that are written only where they are known."""
        return [axis for axis in self.positions if axis != "time"]

    def known(self) -> list[dict[Axis, float]]:
        """Of each row, where it lies on which axis."""
        columns = [
            zip(repeat(axis), column, strict=False) for axis, column in self.positions.items()
        ]
        given = zip(*columns, strict=True) if columns else repeat((), len(self.rows))
        return [{axis: at for axis, at in row if at is not None} for row in given]


WHOLE = Part()


def export_csv(store: SeriesStore, target: Path, part: Part = WHOLE) -> None:
    """A row for each step; an empty cell means not measured, `nan` and `inf` are values.

    The name of a metric that a spreadsheet would take for a formula gets a `'`, as spreadsheets
    mark text; control characters in a name are written as `\\x1b`.
    """
    columns, table = part.columns(store), part.table(store)
    axes: list[Axis] = ["time", *table.extra]
    positions = zip(*(table.on(axis) for axis in axes), strict=True)
    with target.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *axes, *map(_as_text, columns)])
        for (step, row), at in zip(table.rows, positions, strict=True):
            writer.writerow([step, *at, *(row.get(name, "") for name in columns)])


def _as_text(name: str) -> str:
    plain = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in name
    )
    return quoted_formula(plain)


def export_jsonl(store: SeriesStore, target: Path, part: Part = WHOLE) -> None:
    """The rows of a metrics.jsonl, without those that a resumed run superseded."""
    with target.open("x", encoding="utf-8") as file:
        table = part.table(store)
        for (step, row), at in zip(table.rows, table.known(), strict=True):
            file.write(json.dumps({"step": step, **at, **strict(row)}) + "\n")


def export_tensorboard(store: SeriesStore, target: Path, part: Part = WHOLE) -> None:
    """One event file in a new folder; TensorBoard keeps values as 32-bit floats.

    Tokens and epochs are tags of their own; an event without a time has none, which is read as 0.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    target.mkdir()
    writer = EventFileWriter(str(target))
    table = part.table(store)
    for (step, row), at in zip(table.rows, table.known(), strict=True):
        time = at.pop("time", None)
        tags: dict[str, float] = {**{str(axis): place for axis, place in at.items()}, **row}
        values = [Summary.Value(tag=name, simple_value=value) for name, value in tags.items()]
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
            "{target}: Parquet needs pyarrow; install it (`pip install pyarrow`) or choose csv",
            target=target,
        ) from None

    table = part.table(store)
    columns = {"step": pa.array([step for step, _ in table.rows], pa.int64())}
    axes: list[Axis] = ["time", *table.extra]
    for axis in axes:
        columns[axis] = pa.array(table.on(axis), pa.float64())
    for name in part.columns(store):
        columns[name] = pa.array([row.get(name) for _, row in table.rows], pa.float64())
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
        raise ExportError(
            "{target}: {error}; name another place with -o", target=target, error=os_reason(error)
        ) from None


if __name__ == "__main__":
    import tempfile

    demo = SeriesStore()
    demo.append({"step": 1, "train/loss": 2.5, "val/loss": "NaN"})
    with tempfile.TemporaryDirectory() as folder:
        export(demo, "csv", Path(folder) / "demo.csv")
        print((Path(folder) / "demo.csv").read_text())
    print("=== 自测通过 ===")
