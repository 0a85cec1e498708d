"""Odd names and odd files: each is read as it is meant, or named in a sentence."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lmm_tui.data.errors import DataError
from lmm_tui.data.text.corpus import open_text
from lmm_tui.data.text.json_rows import Skipped
from lmm_tui.data.text.locate import locate
from lmm_tui.data.text.row_filter import RowFilter
from lmm_tui.data.text.source import Source

ROWS = '{"text": "a", "q": "Q?"}\n{"text": "b", "q": "R?"}\n'


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name: str, content: str = ROWS) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return name


def read(source: str | Source, skipped: Skipped | None = None) -> list[str]:
    return [*open_text(source, 0.1).documents(skipped or Skipped())]


@pytest.mark.parametrize(
    ("name", "column"),
    [("a:b/x.jsonl", False), ("x@y.jsonl", True), ("x#1.jsonl", True), ("a:b@c#d.jsonl", True)],
)
def test_a_file_may_have_the_marks_of_a_source_in_its_name(name, column):
    write(name)
    assert read(name) == ["a", "b"]
    if column:
        assert read(f"{name}#q") == ["Q?", "R?"]
    assert read(f"{name.partition('/')[0]}#q") == ["Q?", "R?"]


@pytest.mark.parametrize("folder", ["ds", "{tmp_path}/ds"])
def test_a_split_of_a_file_is_that_of_its_name(folder, tmp_path):
    write("ds/train.jsonl")
    named = f"{folder.format(tmp_path=tmp_path)}/train.jsonl"
    assert read(f"{named}@train") == ["a", "b"]
    with pytest.raises(DataError, match="has no split 'test'; it has train"):
        read(f"{named}@test")
    with pytest.raises(DataError, match="has no configuration 'fr'"):
        read(f"{named}:fr")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "data.source: is empty; give"),
        (" ", "data.source: is empty; give"),
        ("C:\\data\\x.jsonl", r"matches 'C:\\\\data\\\\x.jsonl'"),
        ("x.zip", r"'x.zip' is packed in a way that is not read; unpack it \(.gz"),
        ("x.jsonl.lz4", "unpack it"),
        ("x.tar.gz", "unpack it"),
        ("x.parquet.gz", "unpack it"),
        ("semi.csv", r"semi.csv:1: the columns are separated by ';', not by ','"),
        ("comma.tsv", r"comma.tsv:1: the columns are separated by ',', not by '\\t'"),
    ],
)
def test_what_cannot_be_read_is_named(source, why):
    for name in ("x.zip", "x.jsonl.lz4", "x.tar.gz", "x.parquet.gz"):
        write(name)
    write("semi.csv", "text;id\na;1\n")
    write("comma.tsv", "text,id\na,1\n")
    with pytest.raises(DataError, match=why):
        read(source)


def test_files_of_a_folder_that_are_not_read_are_named():
    for name in ("ds/a.jsonl", "ds/b.xlsx", "ds/README.md", "ds/.hidden.zip", "ds/LICENSE"):
        write(name)
    (note,) = locate("ds").notes
    assert note.startswith("not read of ds: b.xlsx; only .txt / ")


def test_a_column_that_no_row_has_is_named_by_the_filter():
    write("a.jsonl")
    with pytest.raises(DataError, match='no row has the column "stars", which the filter'):
        read(Source.parse("a.jsonl", chosen=RowFilter.parse("q == 'Q?' and stars != 3")))
    with pytest.raises(DataError, match="no row passes the filter"):
        read(Source.parse("a.jsonl", chosen=RowFilter.parse("q == 'x'")))


def test_rows_without_the_column_of_a_filter_are_counted():
    write("a.jsonl", '{"text": "a", "n": 3}\n{"text": "b"}\n{"text": "c", "n": null}\n')
    skipped = Skipped()
    assert read(Source.parse("a.jsonl", chosen=RowFilter.parse("n >= 1")), skipped) == ["a"]
    assert [str(note) for note in skipped.lacking_notes] == [
        '2 of 3 rows have no "n", which the filter names; they are left out'
    ]


def test_a_row_of_nulls_says_so_of_its_column():
    pq.write_table(pa.table({"text": ["a", None], "q": [None, None]}), "a.parquet")
    skipped = Skipped()
    assert read("a.parquet", skipped) == ["a"]
    assert skipped.first[0].why == '"text" is not a string'
