"""Exports hold what is known, read back by json, pandas and TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path

import pandas
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lmm_tui.metrics.readers.event_files import read_event_files
from lmm_tui.metrics.series.series import SeriesStore
from lmm_tui.metrics.writers.exporting import FORMATS, export


def test_what_is_known_of_time_epoch_and_tokens_is_exported_and_nothing_else(
    tmp_path: Path,
) -> None:
    store = SeriesStore()
    rows = [
        {"step": 1, "train/loss": 3.0},
        {"step": 2, "time": 1.7e9, "epoch": 0.5, "train/loss": 2.0},
        {"step": 3, "tokens": 640, "epoch": 0.75, "train/loss": 1.0},
    ]
    for row in rows:
        store.append(row)
    assert store.span("time") == (1.7e9, 1.7e9)  # Not 1970, where it is not known.
    for to in FORMATS:
        export(store, to, tmp_path / to)
    assert [json.loads(line) for line in (tmp_path / "jsonl").read_text().splitlines()] == rows
    read = pandas.read_csv(tmp_path / "csv")
    assert read.columns.tolist() == ["step", "time", "tokens", "epoch", "train/loss"]
    assert read.time.isna().tolist() == [True, False, True]
    assert read.tokens.dropna().tolist() == [640.0]
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "parquet"), read)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("epoch")] == [(2, 0.5), (3, 0.75)]
    back = read_event_files(sorted((tmp_path / "tensorboard").iterdir()))
    assert back.known("time").tolist() == [False, True, False]
