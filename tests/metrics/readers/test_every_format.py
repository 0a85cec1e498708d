"""One training as each program logs it: read value for value, healthy, and robust when torn."""

from __future__ import annotations

import math
import os
import re
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from foreign_logs import FORMATS, WITHOUT_VAL, TrainingRow, training, write_log
from hypothesis import given, settings
from hypothesis import strategies as st
from repository import ROOT
from series_points import points

from lmm_tui.errors import LmmError
from lmm_tui.metrics.health.alerts import Health, examine
from lmm_tui.metrics.health.verdict import verdict_of
from lmm_tui.metrics.readers.foreign import open_log
from lmm_tui.metrics.readers.log_formats import FORMATS as KNOWN_FORMATS
from lmm_tui.metrics.series.series import SeriesStore

LONG_AGO = (1e9, 1e9)
BINARY = ("TensorBoard", "W&B")
SMALL = {name: FORMATS[name][1](training(12)) for name in FORMATS}


def read(path: Path) -> SeriesStore:
    os.utime(path, LONG_AGO)
    store = SeriesStore()
    follower = open_log(path, store)
    follower.poll()
    assert not follower.bad_lines
    return store


@pytest.mark.parametrize("name", FORMATS)
def test_the_losses_are_those_that_were_logged(name: str, tmp_path: Path) -> None:
    rows = training(700)
    store = read(write_log(name, tmp_path, rows))
    rounded = 1e-6 if name == "TensorBoard" else 1e-12
    step_of = {"Keras": 300}.get(name, 1)
    wanted = {row.step * step_of: row.loss for row in rows}
    assert points(store, "train/loss") == pytest.approx(wanted, rel=rounded)
    found = store.get("val/loss")
    if name in WITHOUT_VAL:
        assert found is None
    elif found is not None and len(found) == len(rows):
        later = {at: float(f"{loss + 0.05:.4f}") for at, loss in wanted.items()}
        assert points(store, "val/loss") == pytest.approx(later)
    else:
        vals = {row.step: row.val for row in rows if row.val is not None}
        assert points(store, "val/loss") == pytest.approx(vals, rel=rounded)


@pytest.mark.parametrize("name", FORMATS)
def test_a_healthy_training_stays_silent(name: str, tmp_path: Path) -> None:
    health = Health()
    examine(read(write_log(name, tmp_path, training(300, seed=len(name)))), health)
    assert verdict_of(health).headline == "healthy"


def changed(rows: list[TrainingRow], first: int, **values: float) -> list[TrainingRow]:
    """The rows with other values from one on."""
    return [replace(row, **values) if row.step >= first else row for row in rows]


FAULTS: dict[str, tuple[list[TrainingRow], str, int]] = {
    "the loss is no number": (changed(training(300), 200, loss=math.nan), "non_finite", 200),
    "a bad batch": (
        [replace(row, loss=12.0) if row.step == 200 else row for row in training(300)],
        "loss_spike",
        200,
    ),
    "the loss has risen": (
        [replace(row, loss=row.loss + 2.0) if row.step > 200 else row for row in training(400)],
        "loss_risen",
        400,
    ),
    "overfitting": (
        [
            replace(row, val=None if row.val is None else row.val + row.step / 150)
            for row in training(300)
        ],
        "overfit",
        300,
    ),
}
"""Rows with a fault, the rule that speaks, and by which step."""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "name", ["LLaMA-Factory", "trainer_state.json", "llm.c", "modded-nanogpt", "W&B", "TensorBoard"]
)
def test_a_fault_in_a_log_is_found(name: str, fault: str, tmp_path: Path) -> None:
    rows, rule, by = FAULTS[fault]
    health = Health()
    examine(read(write_log(name, tmp_path, rows)), health)
    found = [alert.step for alert in health.alerts if alert.rule == rule]
    assert found and found[0] <= by, verdict_of(health).text


def test_the_documents_name_every_format() -> None:
    for page in ("foreign-logs.md", "foreign-logs.zh.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        assert all(known.name in text for known in KNOWN_FORMATS)


def numbers_in(data: bytes) -> set[float]:
    """All numbers that a text can be read as, whatever the unit behind them."""
    texts = data.decode("utf-8", "replace"), data.decode("utf-16", "replace")
    return set().union(*(numbers_in_line(line) for text in texts for line in text.split("\n")))


@cache
def numbers_in_line(line: str) -> set[float]:
    plain = re.sub(r"\x1b\[[\d;]*m", "", line)
    return {
        sign * float(token) * factor
        for whole in {plain, plain.replace(",", "")}
        for token in re.findall(r"(?=((?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))", whole)
        for factor in (1, 1e3, 1e6, 1e9, 1e12)
        for sign in (1, -1)
    }


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A small log, torn, with bytes flipped, or in another encoding."""
    name = draw(st.sampled_from(sorted(FORMATS)))
    data = bytearray(SMALL[name])
    match draw(st.sampled_from(["torn", "flipped", "crlf", "bom", "utf-16", "doubled"])):
        case "torn":
            data = data[: draw(st.integers(0, len(data)))]
        case "flipped":
            for _ in range(draw(st.integers(1, 8))):
                data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
        case "crlf" if name not in BINARY:
            data = data.replace(b"\n", b"\r\n")
        case "bom" if name not in BINARY:
            data = bytearray(b"\xef\xbb\xbf") + data
        case "utf-16" if name not in BINARY:
            data = bytearray(data.decode("utf-8", "replace").encode("utf-16"))
        case "doubled":
            data = data + data
    return name, bytes(data)


@settings(max_examples=60, deadline=None)
@given(given_log=damaged())
def test_a_damaged_log_never_raises_and_shows_no_number_that_is_not_in_it(
    given_log: tuple[str, bytes],
) -> None:
    name, data = given_log
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder) / FORMATS[name][0], name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_log_may_be_torn_at_every_byte(name: str, tmp_path: Path) -> None:
    data = FORMATS[name][1](training(2))
    for end in range(len(data)):
        check(tmp_path / FORMATS[name][0], name, data[:end])


def check(path: Path, name: str, data: bytes) -> None:
    path.unlink(missing_ok=True)  # A file that is emptied is written to the disk at once.
    path.write_bytes(data)
    os.utime(path, LONG_AGO)
    store = SeriesStore()
    try:
        follower = open_log(path, store)
    except LmmError:
        return
    follower.poll()
    follower.poll()
    assert follower.bad_lines >= 0 and all(follower.notes)
    shown = {
        value
        for metric in store.names()
        if (series := store.get(metric)) is not None
        for value in series.values.tolist()
        if abs(value) < float("inf")
    }
    assert shown <= known_numbers(name, data), (name, shown - known_numbers(name, data))


def known_numbers(name: str, data: bytes) -> set[float]:
    if name in BINARY:  # What is there is protected by checksums: only what was written counts.
        return logged_numbers()
    if data.startswith(b"\x1f\x8b"):
        from lmm_tui.metrics.readers.log_lines import decoded

        data = decoded(data)
    return numbers_in(data)


@cache
def logged_numbers() -> set[float]:
    import numpy as np

    logged = [
        value
        for row in training(12)
        for value in (row.loss, row.lr, row.norm, row.val)
        if value is not None
    ]
    return {*logged, *(float(np.float32(value)) for value in logged)}


def test_rows_of_a_training_are_what_they_say() -> None:
    """The samples themselves: falling losses, a validation every tenth row."""
    rows: list[TrainingRow] = training(300)
    assert rows[0].loss > 8 and rows[-1].loss < 3.5
    assert [row.step for row in rows if row.val is not None] == list(range(10, 301, 10))
