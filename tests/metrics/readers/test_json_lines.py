"""Followers read what is there, whatever is there: bulk equals row by row, and nothing raises."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmm_tui.metrics.readers import json_lines
from lmm_tui.metrics.readers.json_lines import JsonlFollower, MetricsFollower
from lmm_tui.metrics.series.series import SeriesStore

JSON_VALUE = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.sampled_from([1e-9, -0.0, 1e300, 10**30, -1, True, False, None]),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "nan", "12", "", "text\u2028 小兔子"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["step", "loss"]), st.integers(), max_size=2),
)
METRIC = st.sampled_from(["train/loss", "val/loss", "grad/layers[0]", 'od"d\\', "x"])
STEP = st.one_of(st.integers(0, 40), st.integers(0, 40).map(float), JSON_VALUE)

LINE = st.one_of(
    st.builds(
        lambda step, rest: json.dumps({"step": step, **rest}).encode(),
        STEP,
        st.dictionaries(METRIC | st.sampled_from(["time", "tokens"]), JSON_VALUE, max_size=5),
    ),
    st.sampled_from(
        [
            *(b"", b"  ", b"\r", b"null", b"[1]", b'"step"', b"{", b"}", b"{}", b"broken", b"\xff"),
            *(b'{"step":1,"x":1},{"step":2}', b'{"step":[1', b'{"step":3,"x":1e999}'),
            *(b'{"step":4,"x":NaN,"y":-Infinity}', b'{"step":5,"x":1,"x":2}', b"\x00\x00"),
            *(b'{"step":6,"x":01}', b'{"step":7,"\xff":1}', b'{"step":8,"x":"\\ud800"}'),
            *(b"\xef\xbb\xbf" + b'{"step":9}', b'{"step":10, "x":1 }\r', b"[" * 3000),
        ]
    ),
    st.binary(max_size=12).filter(lambda line: b"\n" not in line),
)
IN_ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def row_by_row(data: bytes) -> tuple[SeriesStore, int]:
    """What a store should hold after the whole lines of a file, and the bad lines, by `json`."""
    store, bad = SeriesStore(), 0
    for line in data.split(b"\n")[:-1]:
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            row = None
        bad += not (isinstance(row, dict) and store.append(row))
    return store, bad


def contents(store: SeriesStore) -> dict[str, Any]:
    held = {}
    for name in sorted(store.names()):
        found = store.get(name)
        assert found is not None
        values = list(map(repr, found.values.tolist()))
        held[name] = [found.steps.tolist(), found.times.tolist(), found.tokens.tolist(), values]
    return held


def followed(path: Path) -> tuple[SeriesStore, MetricsFollower]:
    store = SeriesStore()
    follower = MetricsFollower(path, store)
    follower.poll()
    return store, follower


@IN_ONE_FOLDER
@given(st.lists(LINE, max_size=25), st.booleans())
def test_bulk_reading_equals_json_row_by_row(
    tmp_path: Path, lines: list[bytes], ended: bool
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join(lines) + (b"\n" if ended else b""))
    store, follower = followed(path)
    expected, bad = row_by_row(path.read_bytes())
    assert contents(store) == contents(expected)
    assert (len(store), store.last_step) == (len(expected), expected.last_step)
    assert follower.bad_lines == bad


@IN_ONE_FOLDER
@given(st.lists(LINE, max_size=20), st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_reading_in_pieces_equals_reading_at_once(
    tmp_path: Path, lines: list[bytes], pieces: list[int]
) -> None:
    whole, growing = tmp_path / "whole.jsonl", tmp_path / "growing.jsonl"
    whole.write_bytes(b"".join(line + b"\n" for line in lines))
    data = whole.read_bytes()
    growing.write_bytes(b"")
    store = SeriesStore()
    follower = MetricsFollower(growing, store)
    with growing.open("ab", buffering=0) as file:
        start = 0
        for piece in pieces:
            file.write(data[start : start + piece])
            start += piece
            follower.poll()
        file.write(data[start:])
    follower.poll()
    at_once, expected = followed(whole)
    assert contents(store) == contents(at_once)
    assert follower.bad_lines == expected.bad_lines


def test_a_file_cut_at_any_byte_shows_its_whole_lines(tmp_path: Path) -> None:
    rows = [{"step": at, "time": 1e9 + at, "loss": 3.0 / at, "值": "NaN"} for at in range(1, 6)]
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path = tmp_path / "metrics.jsonl"
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        store, follower = followed(path)
        assert len(store) == data[:size].count(b"\n")
        assert follower.bad_lines == 0


def test_flipped_bytes_never_raise_and_never_move_a_number(tmp_path: Path) -> None:
    rows = [{"step": at, "time": 1e9 + at, "loss": 3.0 / at} for at in range(1, 6)]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path = tmp_path / "metrics.jsonl"
    chance = random.Random(0)
    for _ in range(800):
        flipped = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            flipped[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(flipped)
        store, follower = followed(path)
        expected, bad = row_by_row(bytes(flipped))
        assert contents(store) == contents(expected)
        assert follower.bad_lines == bad


def test_a_missing_file_is_nothing_yet(tmp_path: Path) -> None:
    path = tmp_path / "later" / "metrics.jsonl"
    store = SeriesStore()
    follower = MetricsFollower(path, store)
    assert not follower.poll() and not follower.behind
    path.parent.mkdir()
    path.write_bytes(b'{"step":1,"m":1}\n')
    assert follower.poll() and store.names() == ["m"]
    path.unlink()
    assert not follower.poll() and store.names() == ["m"]


def test_a_torn_last_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step":1,"m":1}\n{"step":2,"m"')
    store, follower = followed(path)
    assert store.last_step == 1
    assert not follower.poll()
    with path.open("ab") as file:
        file.write(b":2}\n")
    assert follower.poll() and store.last_step == 2 and follower.bad_lines == 0


@pytest.mark.parametrize("how", ["shorter", "same size", "longer", "another file"])
def test_a_rewritten_file_starts_over(tmp_path: Path, how: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step":1,"old":1}\n{"step":2,"old":2}\nbad\n')
    store, follower = followed(path)
    assert (store.names(), follower.bad_lines) == (["old"], 1)
    size = path.stat().st_size
    line = b'{"step":1,"new":5}\n'
    written = {"shorter": line, "same size": line.ljust(size), "longer": line * 9}.get(how, line)
    if how == "another file":
        path.rename(tmp_path / "gone.jsonl")
    path.write_bytes(written)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))
    assert follower.poll()
    assert (store.names(), follower.bad_lines) == (["new"], 0)


def test_a_line_that_never_ends_is_skipped_and_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "CHUNK_BYTES", 64)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step":1,"m":1}\n' + b"x" * 1000 + b'\n{"step":2,"m":2}\n')
    store, follower = followed(path)
    assert (len(store), follower.bad_lines) == (2, 1)


def test_a_budget_shows_the_start_of_a_long_file_first(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f'{{"step":{at},"m":{at / 7}}}\n' for at in range(1, 100_001)))
    store = SeriesStore()
    follower = MetricsFollower(path, store)
    assert follower.poll(0.0) and follower.behind
    assert 0 < len(store) < 100_000
    while follower.behind:
        follower.poll(0.01)
    assert store.last_step == 100_000 and len(store) == 100_000
    assert not follower.poll()


def test_objects_arrive_in_order_and_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    follower = JsonlFollower(path)
    assert follower.poll() == []
    path.write_bytes(b'{"kind":"start"}\nnot json\n\n[1]\n{"kind":"pr')
    assert follower.poll() == [{"kind": "start"}]
    with path.open("ab") as file:
        file.write(b'obe"}\n')
    assert follower.poll() == [{"kind": "probe"}]
    assert follower.poll() == [] and follower.bad_lines == 2
