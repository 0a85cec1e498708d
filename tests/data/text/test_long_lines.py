"""Lines and rows of any length: cut into documents of bounded size, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm_tui.data.errors import DataError
from lmm_tui.data.text import files
from lmm_tui.data.text.files import FileText
from lmm_tui.data.text.json_rows import Skipped
from lmm_tui.data.text.locate import find

LONGEST = 100


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST", LONGEST)


def documents(path: Path) -> list[str]:
    return list(FileText(find(str(path))).documents(Skipped()))


WORDS = st.text(st.sampled_from("ab é中👍<|>"), min_size=1, max_size=300)


@settings(deadline=None, max_examples=60)
@given(WORDS.filter(lambda text: text.strip()))
def test_the_parts_of_a_line_are_the_line(
    tmp_path_factory: pytest.TempPathFactory, line: str
) -> None:
    path = tmp_path_factory.mktemp("line") / "line.txt"
    path.write_bytes(b"x" + line.encode() * 5 + b"x")
    pieces = list(files._text_lines(path.open("rb"), path))  # type: ignore[arg-type]
    assert "".join(pieces) == f"x{line * 5}x"
    assert all(len(piece.encode()) <= 2 * LONGEST for piece in pieces)


def test_a_long_line_is_cut_after_a_space_and_no_separator_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    path.write_text("word " * 50, encoding="utf-8")
    assert {part[-1] for part in files._text_lines(path.open("rb"), path)} == {" "}
    for shift in range(16):
        path.write_text("中" * 26 + "x" * shift + "<|endoftext|>" + "y" * 90, encoding="utf-8")
        assert "".join(documents(path)) == "中" * 26 + "x" * shift + "y" * 90


def test_a_long_row_is_cut_after_a_space(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    text = "some words " * 40
    path.write_text(json.dumps({"text": text}) + "\n" + json.dumps({"text": "short"}), "utf-8")
    *parts, short = documents(path)
    assert "".join(parts) == text and short == "short"
    assert all(len(part) <= LONGEST and part.endswith(" ") for part in parts)
    path.write_text(json.dumps({"text": "x" * 250}), encoding="utf-8")
    assert [len(part) for part in documents(path)] == [100, 100, 50]


def test_places_of_what_is_wrong_are_right_behind_a_long_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(b"first\n" + b"word " * 100 + b"\nthird \xff\n")
    with pytest.raises(DataError, match=r"bad.txt:3: not UTF-8 text \(byte 513 of the file\)"):
        documents(path)
    path.write_bytes(b"first\n" + b"word " * 100 + b"\0\n")
    with pytest.raises(DataError, match=r"bad.txt:2: a NUL byte \(byte 506 of the file\)"):
        documents(path)
