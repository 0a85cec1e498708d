"""What wandb has written is read value for value; damage is counted and never shown."""

from __future__ import annotations

import json
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm_tui.metrics.readers.foreign import is_log, open_log
from lmm_tui.metrics.readers.log_row import LogRow
from lmm_tui.metrics.readers.metric_names import MetricNamer
from lmm_tui.metrics.readers.place_rows import RowPlacer
from lmm_tui.metrics.readers.wandb_history import HistoryReader
from lmm_tui.metrics.readers.wandb_log import WandbFollower
from lmm_tui.metrics.series.row_values import number
from lmm_tui.metrics.series.series import SeriesStore

REAL = Path(__file__).parent / "files" / "run-real.wandb"
"""By wandb 0.31.0: `loss` 3 / (i + 1), `val/acc` i / 10 with a NaN, nested and text, six steps."""

INSPECTED = REAL.with_suffix(".jsonl")
"""The items of history that `wandb leet inspect --json` finds in it."""

BLOCK = 32768


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def history_of(row: dict[str, object]) -> bytes:
    items = [
        field(1, field(2, key.encode()) + field(16, json.dumps(value).encode()))
        for key, value in row.items()
    ]
    step = row["_step"]
    number = b"\x08" + varint(step) if isinstance(step, int) and step > 0 else b""
    return field(2, b"".join(items) + field(2, number))


def log_of(rows: list[dict[str, object]]) -> bytes:
    """A file as wandb frames it, by LevelDB's log format."""
    out = bytearray(b":W&B" + struct.pack("<HB", 0xBEE1, 0))
    for row in rows:
        data = history_of(row)
        first = True
        while data or first:
            room = BLOCK - len(out) % BLOCK
            if room < 7:
                out += bytes(room)
                continue
            part, data = data[: room - 7], data[room - 7 :]
            kind = {(1, 0): 1, (1, 1): 2, (0, 1): 3, (0, 0): 4}[first, bool(data)]
            crc = zlib.crc32(bytes([kind]) + part)
            out += struct.pack("<IHB", crc, len(part), kind) + part
            first = False
    return bytes(out)


def values(store: SeriesStore, name: str) -> dict[int, float]:
    series = store.get(name)
    if series is None:
        return {}
    return dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def rows_with(steps: range, width: int) -> list[dict[str, object]]:
    return [{"_step": step, "a": step, "note": "x" * width} for step in steps]


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_file_of_wandb_s_own_is_read_value_for_value(tmp_path: Path, as_folder: bool) -> None:
    path = tmp_path / "offline-run-1" / "run-1.wandb"
    path.parent.mkdir()
    path.write_bytes(REAL.read_bytes())
    given_path = path.parent if as_folder else path
    store = SeriesStore()
    follower = open_log(given_path, store)
    assert is_log(given_path) and follower.poll() and not follower.poll()
    assert values(store, "train/loss") == {2 * i: 3.0 / (i + 1) for i in range(6)}
    assert values(store, "nested.a") == {2 * i: float(i) for i in range(6)}
    accuracy = values(store, "val/acc")
    assert accuracy.pop(6) != accuracy.get(6) and accuracy == {
        2 * i: i / 10 for i in (0, 1, 2, 4, 5)
    }
    assert not follower.bad_lines and "note" not in store.names()


def test_wandb_s_own_reader_finds_the_same() -> None:
    store = SeriesStore()
    WandbFollower(REAL, store).poll()
    found: dict[int, dict[str, float]] = {}
    for name in store.names():
        series = store.get(name)
        assert series is not None
        for step, time, value in zip(series.steps, series.times, series.values, strict=True):
            found.setdefault(int(step), {"_timestamp": float(time)})[name] = float(value)
    expected: dict[int, dict[str, float]] = {}
    for line in INSPECTED.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        del row["note"]
        row["train/loss"] = row.pop("loss")
        step = row.pop("_step")
        expected[step] = {name: float(value) for name, value in row.items()}
    for rows in (found, expected):
        assert math.isnan(rows[6].pop("val/acc"))
    assert found == expected


def test_a_file_cut_anywhere_waits_for_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "run-1.wandb"
    whole = REAL.read_bytes()
    store = SeriesStore()
    follower = WandbFollower(path, store)
    for end in range(len(whole) + 1):
        with path.open("ab") as file:
            file.write(whole[end - 1 : end] if end else b"")
        follower.poll()
        assert not follower.bad_lines
    assert values(store, "train/loss") == {2 * i: 3.0 / (i + 1) for i in range(6)}


@settings(max_examples=15, deadline=None)
@given(width=st.integers(0, 90_000), cuts=st.lists(st.floats(0, 1), max_size=4))
def test_records_across_blocks_arrive_whole(
    tmp_path_factory: pytest.TempPathFactory, width: int, cuts: list[float]
) -> None:
    path = tmp_path_factory.mktemp("wandb") / "run-1.wandb"
    whole = log_of(rows_with(range(8), width))
    store = SeriesStore()
    follower = WandbFollower(path, store)
    for cut in [*sorted(cuts), 1.0]:
        path.write_bytes(whole[: round(cut * len(whole))])
        while follower.poll(0.0) or follower.behind:
            pass
    assert values(store, "a") == {step: float(step) for step in range(8)}
    assert not follower.bad_lines


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_damage_brings_it_down_and_none_of_it_is_shown(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("wandb") / "run-1.wandb"
    whole = bytearray(log_of(rows_with(range(60), 3000)))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(7, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    store = SeriesStore()
    follower = WandbFollower(path, store)
    follower.poll()
    found = values(store, "a")
    assert all(step == value for step, value in found.items())
    # A damaged length in the last block, which is not full, may wait for data that never comes.
    assert follower.bad_lines or len(found) >= 60 - BLOCK // 3000 - 1


def test_a_damaged_record_costs_no_more_than_its_block(tmp_path: Path) -> None:
    path = tmp_path / "run-1.wandb"
    whole = bytearray(log_of(rows_with(range(60), 3000)))
    whole[BLOCK + 9000] ^= 1
    path.write_bytes(whole)
    store = SeriesStore()
    follower = WandbFollower(path, store)
    follower.poll()
    assert follower.bad_lines == 1 and 48 <= len(values(store, "a")) < 60


def test_messages_that_are_no_history_of_numbers_are_counted_or_passed_over(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run-1.wandb"
    good = log_of([{"_step": 1, "step": 5, "a": {"deep": 1}, "lr": True, "loss": 2.0}])
    bodies = [
        b"",
        b"\x12\x05\x0a",
        b"\x12\x02\x0a\x00",
        b"\xff" * 30,
        field(2, field(1, b"\x0a\x01a")),
    ]
    for body in bodies:
        good += struct.pack("<IHB", zlib.crc32(b"\x01" + body), len(body), 1) + body
    path.write_bytes(good)
    store = SeriesStore()
    follower = WandbFollower(path, store)
    follower.poll()
    assert values(store, "train/loss") == {1: 2.0} and values(store, "log/step") == {1: 5.0}
    assert follower.bad_lines == 2


def test_a_file_that_begins_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "run-1.wandb"
    store = SeriesStore()
    follower = WandbFollower(path, store)
    assert not follower.poll()
    path.write_bytes(log_of(rows_with(range(30), 10)))
    follower.poll()
    path.write_bytes(log_of(rows_with(range(100, 102), 10)))
    assert follower.poll() and list(values(store, "a")) == [100, 101]


PLACES = ("_step", "_timestamp", "epoch", "train/epoch")
JSON = st.one_of(
    st.floats(width=32),
    st.integers(-(2**70), 2**70),
    st.sampled_from([None, True, "NaN", "ä\x82\x01", {"deep": 1}, "x" * 200]),
)
ROWS = st.lists(
    st.dictionaries(
        st.sampled_from(
            ["loss", "Loss", "step", "_timestamp", "epoch", "train/epoch", "a", "k" * 130]
        ),
        JSON,
    ),
    min_size=1,
    max_size=9,
)


@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS, steps=st.lists(st.integers(-3, 40), min_size=9, max_size=9), ordered=st.booleans()
)
def test_many_steps_at_once_are_read_as_each_alone(
    rows: list[dict[str, object]], steps: list[int], ordered: bool
) -> None:
    numbers = range(9) if ordered else steps
    whole = [{"_step": step, "b": 1.5, **row} for step, row in zip(numbers, rows, strict=False)]
    records = [b"\x08\x05" + history_of(row) for row in whole]
    together, alone = SeriesStore(), SeriesStore()
    reader = HistoryReader(together)
    assert reader.add(records[:2]) + reader.add(records[2:]) == 0
    placer = RowPlacer(alone, MetricNamer())
    for row in whole:
        epochs = [number(row.get(key)) for key in ("epoch", "train/epoch")]
        known = [epoch for epoch in epochs if epoch is not None and not math.isnan(epoch)]
        measured = {
            key: value
            for key, given_value in row.items()
            if key not in PLACES and (value := number(given_value)) is not None
        }
        step = row["_step"]
        assert isinstance(step, int)
        at = number(row.get("_timestamp"))
        placer.add([LogRow(measured, step, known[0] if known else None, at)])
    assert sorted(together.names()) == sorted(alone.names())
    for name in alone.names():
        found, expected = together.get(name), alone.get(name)
        assert found is not None and expected is not None
        for column in ("steps", "values"):
            assert np.array_equal(getattr(found, column), getattr(expected, column), equal_nan=True)


def test_the_folder_of_all_runs_shows_the_newest(tmp_path: Path) -> None:
    for run in ("run-20261101_101010-b", "offline-run-20261102_101010-a"):
        log = tmp_path / run / f"run-{run[-1]}.wandb"
        log.parent.mkdir()
        log.write_bytes(log_of([{"_step": 1, run[-1]: 5}]))
    (tmp_path / "offline-run-20261103_101010-c").mkdir()
    store = SeriesStore()
    assert is_log(tmp_path) and open_log(tmp_path, store).poll()
    assert store.names() == ["a"]


def test_epochs_are_an_axis_as_they_are_of_other_logs(tmp_path: Path) -> None:
    path = tmp_path / "run-1.wandb"
    path.write_bytes(log_of([{"_step": at, "train/epoch": at / 4, "loss": 1.0} for at in range(9)]))
    store = SeriesStore()
    WandbFollower(path, store).poll()
    assert store.names() == ["train/loss"] and store.span("epoch") == (0.0, 2.0)
