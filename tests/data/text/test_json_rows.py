"""Promises of reading rows of JSON: every good one is found, every bad one is placed."""

import json
from io import BufferedReader, BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm_tui.data.errors import DataError
from lmm_tui.data.text import json_rows
from lmm_tui.data.text.dataset import from_files
from lmm_tui.data.text.json_rows import JsonError, Skipped, json_array, json_lines, starts_array

FIELDS = frozenset({"good"})
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
ROWS = st.one_of(st.fixed_dictionaries({"good": VALUES}), VALUES)


def good(row):
    if "good" not in row:
        raise ValueError("no good")
    return row["good"]


def opened(raw):
    return BufferedReader(BytesIO(raw))


def dataset(path):
    return from_files(str(path), good, lambda found: True, fields=FIELDS, role="text")


def is_good(row):
    return isinstance(row, dict) and "good" in row


@settings(deadline=None)
@given(st.lists(ROWS, max_size=6), st.sampled_from([None, 0, 2]), st.booleans())
def test_of_an_array_good_rows_are_found_and_bad_ones_placed(rows, indent, ascii_only):
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    skipped = Skipped()
    found = list(json_array(opened(text.encode()), 3, good, skipped))
    assert found == [row["good"] for row in rows if is_good(row)]
    assert (skipped.lines, skipped.count) == (len(rows), len(rows) - len(found))
    assert all(bad.file == 3 for bad in skipped.first)
    if indent is None:
        assert all(bad.line == 1 for bad in skipped.first)


@settings(deadline=None)
@given(st.lists(st.tuples(ROWS, st.integers(0, 3)), max_size=6))
def test_an_element_is_placed_where_it_starts(rows):
    text, line, starts = "[", 1, []
    for place, (row, blank) in enumerate(rows):
        text += "," * (place > 0) + "\n" * blank
        starts.append(line := line + blank)
        piece = json.dumps(row, indent=1)
        text += piece
        line += piece.count("\n")
    skipped = Skipped()
    list(json_array(opened(f"{text}]".encode()), 0, good, skipped))
    wanted = [start for (row, _), start in zip(rows, starts, strict=True) if not is_good(row)]
    assert [bad.line for bad in skipped.first] == wanted


@settings(deadline=None)
@given(st.lists(ROWS, max_size=6))
def test_lines_and_array_hold_the_same(rows):
    lines = "\n".join(map(json.dumps, rows)).encode()
    skipped = Skipped()
    found = list(json_lines(opened(lines), 0, good, skipped))
    assert found == [row["good"] for row in rows if is_good(row)]
    assert [bad.line for bad in skipped.first] == [
        number for number, row in enumerate(rows, start=1) if not is_good(row)
    ]


@pytest.mark.parametrize(
    ("raw", "line", "why"),
    [
        (b'[{"good": 1},\n {"good": }]', 2, "not JSON"),
        (b'[{"good": 1}', 1, "not JSON"),
        (b'[\n"caf\xe9"]', 2, "not UTF-8 (byte 4 of the line)"),
        (b'[{"good": 1},\n {"good": -Infinity}]', 2, "holds Infinity, which is no value of JSON"),
    ],
)
def test_a_broken_array_says_on_which_line(raw, line, why):
    with pytest.raises(JsonError) as refusal:
        list(json_array(opened(raw), 0, good, Skipped()))
    assert refusal.value.line == line
    assert why in str(refusal.value)


@pytest.mark.parametrize(
    ("raw", "array"),
    [
        (b'\xef\xbb\xbf [{"a": 1}]', True),
        (b"[\r\n1,\n2]", True),
        (b"[]", True),
        (b"[ ", True),
        (b"[1]", False),
        (b'{"a": []}', False),
        (b"", False),
    ],
)
def test_an_array_is_told_from_lines_by_its_start(raw, array):
    assert starts_array(opened(raw)) is array


def test_json_files_may_be_an_array_or_lines(tmp_path):
    (tmp_path / "a.json").write_text('\ufeff[{"good": 1}, {"good": 2}]', encoding="utf-8")
    (tmp_path / "b.json").write_text('{"good": 3}\n\n{"good": 4}\n', encoding="utf-8")
    (tmp_path / "c.jsonl").write_text('{"good": 5}', encoding="utf-8")
    (tmp_path / "d.jsonl").write_text('[{"good": 6},\n{"good": 7}]\n', encoding="utf-8")
    (tmp_path / "e.txt").write_text("no", encoding="utf-8")
    found = dataset(tmp_path)
    assert list(found) == list(found) == [1, 2, 3, 4, 5, 6, 7]
    assert found.skipped.lines == 7


ODD_ROWS = [
    (b'{"good": 1, "good": 2}', 'the key "good" stands twice'),
    (b'{"good": [{"n": 1, "\\u006e": 2}]}', 'the key "n" stands twice'),
    (b'{"good": NaN}', "holds NaN, which is no value of JSON"),
]


@pytest.mark.parametrize(("row", "why"), ODD_ROWS)
def test_a_row_whose_value_is_in_doubt_is_left_out_and_told(row, why):
    quoting = b'{"good": "{\\"good\\": 1, \\"good\\" : 2}"}'
    skipped = Skipped()
    found = list(json_lines(opened(b"\n".join([quoting, row, quoting])), 0, good, skipped))
    assert found == [json.loads(quoting)["good"]] * 2
    assert [bad.line for bad in skipped.first] == [2] and why in skipped.first[0].why


@pytest.mark.parametrize(("row", "why"), ODD_ROWS[:2])
def test_an_element_whose_value_is_in_doubt_is_left_out_and_told(row, why):
    skipped = Skipped()
    listed = b'[{"good": ":"},\n' + row + b',\n{"good": 3}]'
    assert list(json_array(opened(listed), 0, good, skipped)) == [":", 3]
    assert [bad.line for bad in skipped.first] == [2] and why in skipped.first[0].why


@pytest.mark.parametrize(("bad", "refused"), [(1, False), (2, True)])
def test_up_to_one_row_in_a_hundred_may_be_bad(tmp_path, bad, refused):
    path = tmp_path / "rows.json"
    rows = [{"good": n} for n in range(100 - bad)] + [{}] * bad
    path.write_text(json.dumps(rows, indent=0), encoding="utf-8")
    found = dataset(path)
    if refused:
        with pytest.raises(DataError, match=r"rows.json:\d+: no good; 2 of 100 lines are broken"):
            list(found)
    else:
        assert len(list(found)) == 99
        assert found.skipped_rows == (f"{path}:299: no good",)


def test_what_one_side_leaves_to_the_other_is_not_bad(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"good": 1}\n{"good": 2}\n', encoding="utf-8")
    nothing = from_files(str(path), good, lambda found: False, fields=FIELDS, role="text")
    assert list(nothing) == []
    assert nothing.skipped.count == 0


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("rows.json", b'[{"good": 1}\n', "rows.json:2?1?: not JSON"),
        ("rows.jsonl", b"\n\n", "^data.source: .* holds no rows; give files that do"),
        ("rows.json", b"[]", "^data.source: .* holds no rows; give files that do"),
        ("rows.txt", b"", "is no .jsonl / .json / .csv / .tsv / .parquet / .arrow file; give"),
    ],
)
def test_files_that_cannot_be_used_are_refused_with_a_sentence(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        list(dataset(tmp_path / name))


def test_a_file_that_changes_between_passes_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"good": 1}\n', encoding="utf-8")
    found = dataset(path)
    assert list(found) == [1]
    path.write_text('{"good": 1}\n{"good": 2}\n', encoding="utf-8")
    with pytest.raises(DataError, match="changed while it was read"):
        list(found)


def elements(raw: bytes) -> tuple[list[object], list[tuple[int, str]], str]:
    """What an array gives: rows, the lines and reasons of bad ones, and why it ends."""
    skipped, found, why = Skipped(), [], ""
    try:
        for row in json_array(BufferedReader(BytesIO(raw)), 0, lambda it: it, skipped):
            found.append(row)
    except JsonError as error:
        why = f"{error.line}"
    return found, [(bad.line, bad.why) for bad in skipped.first], why


@pytest.mark.parametrize("more", [1, 7, 1 << 20])
def test_a_long_array_is_read_by_element_as_a_short_one_is_at_once(
    monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    rows = [{"text": 'a "]" \\ 中文\n[{', "n": [1, {"x": None}]}, 3, {"text": "b"}, 12, [], {}]
    long = {"text": "x" * 300}
    whole = [
        json.dumps(rows, indent=indent, ensure_ascii=ascii).encode() for indent in (None, 2)
        for ascii in (True, False)
    ]  # fmt: skip
    cases = [
        *whole, b"\xef\xbb\xbf" + whole[3], b" [ ] \n", b"[]", json.dumps([long] * 3).encode(),
        whole[2][:-9], whole[2] + b"\n x", b"[1,]", b'[{"a": 1} {"a": 2}]', b"[1", b'["\xff\n"]',
        b"[\n1,\n2,\n tru]",
    ]  # fmt: skip
    at_once = [elements(raw) for raw in cases]
    monkeypatch.setattr(json_rows, "WHOLE_ARRAY", 3)
    monkeypatch.setattr(json_rows, "_MORE", more)
    for raw, (found, bad, why) in zip(cases, at_once, strict=True):
        rows_, bad_, why_ = elements(raw)
        assert why_ == why, raw
        if not why:
            assert (rows_, bad_) == (found, bad), raw


def test_what_a_long_array_gives_before_it_breaks_has_its_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_rows, "WHOLE_ARRAY", 3)
    found, _, line = elements(b'[{"n": 1},\n{"n": 2},\n{"n": oh}]')
    assert found == [{"n": 1}, {"n": 2}] and line == "3"
