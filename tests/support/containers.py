"""The same rows in every container that is read: name -> how to write them."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

Rows = Sequence[dict[str, Any]]


def lines(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def cells(rows: Rows, delimiter: str) -> bytes:
    made = io.StringIO(newline="")
    writer = csv.DictWriter(made, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {k: v if isinstance(v, str | int | float) else json.dumps(v) for k, v in row.items()}
        )
    return made.getvalue().encode()


def array(rows: Rows) -> bytes:
    return json.dumps(list(rows), ensure_ascii=False).encode()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda raw: raw,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}
TEXTUAL: dict[str, Callable[[Rows], bytes]] = {
    ".jsonl": lines,
    ".ndjson": lines,
    ".json": array,
    ".csv": lambda rows: cells(rows, ","),
    ".tsv": lambda rows: cells(rows, "\t"),
}


def _parquet(folder: Path, rows: Rows) -> Path:
    path = folder / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=3)
    return path


def _arrow_file(folder: Path, rows: Rows) -> Path:
    path = folder / "rows.arrow"
    table = pa.Table.from_pylist(list(rows))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    return path


def _arrow_stream(folder: Path, rows: Rows) -> Path:
    path = folder / "stream.arrow"
    table = pa.Table.from_pylist(list(rows))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    return path


def _saved(folder: Path, rows: Rows) -> Path:
    datasets.Dataset.from_list(list(rows)).save_to_disk(folder / "saved", num_shards=2)
    return folder / "saved"


def _saved_splits(folder: Path, rows: Rows) -> Path:
    made = datasets.Dataset.from_list(list(rows))
    both = datasets.DatasetDict({"train": made, "test": made.select(range(1))})
    both.save_to_disk(folder / "splits")
    return folder / "splits"


def _shards(folder: Path, rows: Rows) -> Path:
    data = folder / "repo" / "data"
    data.mkdir(parents=True)
    half = len(rows) // 2
    for at, part in enumerate((rows[:half], rows[half:])):
        pq.write_table(pa.Table.from_pylist(list(part)), data / f"train-{at:05}-of-00002.parquet")
    pq.write_table(pa.Table.from_pylist(list(rows[:1])), data / "test-00000-of-00001.parquet")
    return folder / "repo"


def _folder(folder: Path, rows: Rows) -> Path:
    (folder / "parts").mkdir()
    half = len(rows) // 2
    (folder / "parts" / "a.jsonl.gz").write_bytes(gzip.compress(lines(rows[:half])))
    pq.write_table(pa.Table.from_pylist(list(rows[half:])), folder / "parts" / "b.parquet")
    return folder / "parts"


WRITERS: dict[str, Callable[[Path, Rows], Path]] = {
    "parquet": _parquet,
    "arrow file": _arrow_file,
    "arrow stream": _arrow_stream,
    "save_to_disk": _saved,
    "save_to_disk of splits": _saved_splits,
    "dataset folder of shards": _shards,
    "folder of several formats": _folder,
}


def textual(folder: Path, rows: Rows, suffix: str, compression: str) -> Path:
    path = folder / f"rows{suffix}{compression}"
    path.write_bytes(COMPRESS[compression](TEXTUAL[suffix](rows)))
    return path


def every(folder: Path, rows: Rows) -> dict[str, Path]:
    """The rows in every container; the tables of the docs are checked against these names."""
    made = {
        f"{suffix}{compression}": textual(folder, rows, suffix, compression)
        for suffix in TEXTUAL
        for compression in COMPRESS
    }
    return made | {name: write(folder, rows) for name, write in WRITERS.items()}
