"""Rows of .parquet and .arrow files, a few at a time, with only the columns that are asked for.

Files are data: no extension type is made, nothing is unpickled, and what is read is validated.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmm_tui.data.errors import DataError
from lmm_tui.data.text.compressed import FREE, RATIO
from lmm_tui.data.text.containers import PARQUET, format_of

_HELD = 4 << 20
"""Bytes of rows that are made at once, about."""
_MOST_ROWS = 1024


@dataclass(frozen=True)
class ColumnTable:
    """An open file of columns."""

    path: Path
    columns: dict[str, str]
    """The kind of each: `text`, `number`, `list`, `object`, `bool`, `null` or `other`."""
    _source: Any

    def rows(self, wanted: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Each row with these columns, null values left out; DataError where it is damaged."""
        read = given = 0
        size = self.path.stat().st_size
        batches = self._batches(list(wanted))
        while True:
            try:
                batch = next(batches, None)
                if batch is None:
                    return
                batch.validate(full=True)
                rows = batch.to_pylist()
            except (OSError, ValueError, NotImplementedError) as error:
                what = " ".join(str(error).split())[:120]
                raise DataError(
                    "{path}:{read}: the file is damaged here ({what}); give a whole file",
                    path=self.path,
                    read=read + 1,
                    what=what,
                ) from None
            given += batch.nbytes
            if given > FREE and given > RATIO * size:
                raise DataError(
                    "{path}:{read}: expands to more than {ratio} times its size, "
                    "as files do that are made to fill memory; give another file",
                    path=self.path,
                    read=read + 1,
                    ratio=RATIO,
                )
            read += len(rows)
            yield from map(_present, rows)

    def _batches(self, wanted: list[str]) -> Iterator[Any]:
        if format_of(self.path) == PARQUET:
            whole = self._source.metadata
            for at in range(whole.num_row_groups):
                group = whole.row_group(at)
                a_row = max(group.total_byte_size // max(group.num_rows, 1), 1)
                count = max(1, min(_HELD // a_row, _MOST_ROWS))
                yield from self._source.iter_batches(
                    count, row_groups=[at], columns=wanted, use_threads=False
                )
            return
        for batch in _arrow_batches(self._source):
            chosen = batch.select(wanted)
            step = max(1, min(_HELD * max(len(batch), 1) // max(batch.nbytes, 1), _MOST_ROWS))
            for start in range(0, len(batch), step):
                yield chosen.slice(start, step)


@contextmanager
def open_table(path: Path) -> Iterator[ColumnTable]:
    """A .parquet or .arrow file (stream or file format); DataError where it is none."""
    import pyarrow as pa

    with pa.OSFile(str(path)) as file:
        if not file.size():
            raise DataError("{path}: is empty; give a file with rows, or leave it out", path=path)
        try:
            source = _parquet(file) if format_of(path) == PARQUET else _arrow(file)
            schema = source.schema_arrow if hasattr(source, "schema_arrow") else source.schema
        except (pa.ArrowException, OSError, ValueError) as error:
            what = " ".join(str(error).split())[:120]
            raise DataError(
                "{path}: is no whole {format_of} file ({what}); give one, or leave it out",
                path=path,
                format_of=format_of(path),
                what=what,
            ) from None
        yield ColumnTable(path, {field.name: _kind(field.type) for field in schema}, source)


def damaged_rows(tables: Iterable[Path]) -> None:
    """Read all rows of some files; for tests and reports."""
    for path in tables:
        with open_table(path) as table:
            for _ in table.rows([*table.columns]):
                pass


def _parquet(file: Any) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        file, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True
    )


def _arrow(file: Any) -> Any:
    import pyarrow as pa

    try:
        return pa.ipc.open_file(file)
    except pa.ArrowInvalid:
        file.seek(0)
        return pa.ipc.open_stream(file)


def _arrow_batches(source: Any) -> Iterator[Any]:
    if hasattr(source, "num_record_batches"):
        yield from (source.get_batch(at) for at in range(source.num_record_batches))
    else:
        yield from source


def _kind(given: Any) -> str:
    from pyarrow import types

    if types.is_dictionary(given):
        given = given.value_type
    if types.is_string(given) or types.is_large_string(given) or types.is_string_view(given):
        return "text"
    if types.is_list(given) or types.is_large_list(given) or types.is_fixed_size_list(given):
        return "list"
    if types.is_integer(given) or types.is_floating(given):
        return "number"
    if types.is_boolean(given):
        return "bool"
    if types.is_struct(given):
        return "object"
    return "null" if types.is_null(given) else "other"


def _present(value: Any) -> Any:
    """Without the nulls that a struct has for each field that a row lacks."""
    if isinstance(value, dict):
        return {key: _present(item) for key, item in value.items() if item is not None}
    return [_present(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "demo.parquet")
        pq.write_table(pa.table({"text": ["one", "two"], "n": [1, None]}), demo)
        with open_table(demo) as opened_demo:
            print(opened_demo.columns, list(opened_demo.rows(["text", "n"])))
        demo.write_bytes(demo.read_bytes()[:-9])
        try:
            damaged_rows([demo])
        except DataError as refusal:
            print(refusal)
    print("=== 自测通过 ===")
