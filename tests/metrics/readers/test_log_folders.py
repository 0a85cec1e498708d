"""Which runs are in a folder: parts of one run, several writers, several folders, databases."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from foreign_logs import trackio_rows, training, write_log
from series_points import points
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from lmm_tui.metrics.readers.foreign import OpenLog, UnknownLogError, is_log, open_log
from lmm_tui.metrics.readers.log_folders import logs_in, runs_at
from lmm_tui.metrics.series.series import SeriesStore


def read(path: Path) -> tuple[SeriesStore, OpenLog]:
    store = SeriesStore()
    log = open_log(path, store)
    log.poll()
    return store, log


def scalars(folder: Path, tag: str) -> dict[int, float]:
    """By TensorBoard's own reader."""
    log = EventAccumulator(str(folder))
    log.Reload()
    return {event.step: event.value for event in log.Scalars(tag)}


def test_add_scalars_and_keras_folders_are_parts_of_one_run(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path / "torch")) as writer:
        for step in range(9):
            writer.add_scalar("lr", 1e-3, step)
            writer.add_scalars("loss", {"train": 5 - step / 8, "val": 6 - step / 8}, step)
    store, log = read(tmp_path / "torch")
    assert points(store, "train/loss") == scalars(tmp_path / "torch" / "loss_train", "loss")
    assert points(store, "val/loss") == scalars(tmp_path / "torch" / "loss_val", "loss")
    assert points(store, "train/lr") == scalars(tmp_path / "torch", "lr") and not log.notes

    for part, first in (("train", 5.0), ("validation", 6.0)):
        with SummaryWriter(str(tmp_path / "keras" / part)) as writer:
            for step in range(4):
                writer.add_scalar("epoch_loss", first - step, step)
    store, _ = read(tmp_path / "keras")
    assert points(store, "train/loss") == {0: 5.0, 1: 4.0, 2: 3.0, 3: 2.0}
    assert points(store, "val/loss") == {0: 6.0, 1: 5.0, 2: 4.0, 3: 3.0}


def test_writers_at_the_same_time_are_runs_and_one_after_the_other_is_a_resume(
    tmp_path: Path,
) -> None:
    for folder, starts in (("ranks", (0, 1)), ("resumed", (0, 1000))):
        with ExitStack() as open_files:
            for number, start in enumerate(starts):
                writer = SummaryWriter(str(tmp_path / folder), filename_suffix=f".{number}")
                open_files.enter_context(writer)
                for step in range(5):
                    at = 1.7e9 + start + 10 * step
                    writer.add_scalar("loss", number + step, step + 3 * number, walltime=at)
    with pytest.raises(UnknownLogError, match="holds 2 runs"):
        open_log(tmp_path / "ranks", SeriesStore())
    assert len(logs_in(tmp_path / "ranks")) == 2
    store, log = read(tmp_path / "resumed")
    assert points(store, "train/loss") == scalars(tmp_path / "resumed", "loss")
    assert log.notes == ["2 values left out: a later one has the same step"]


def test_a_folder_of_runs_lists_them_as_tensorboard_does(tmp_path: Path) -> None:
    for name in ("a", "b/c"):
        with SummaryWriter(str(tmp_path / name)) as writer:
            writer.add_scalar("loss", 2.5, 1)
    (tmp_path / "hf" / "checkpoint-9").mkdir(parents=True)
    state = {"global_step": 9, "max_steps": 9, "log_history": [{"step": 9, "loss": 2.0}]}
    (tmp_path / "hf" / "checkpoint-9" / "trainer_state.json").write_text(json.dumps(state))
    (tmp_path / "hf" / "config.json").write_text('{"hidden": 3}')
    with SummaryWriter(str(tmp_path / "hf" / "runs" / "x")) as writer:
        writer.add_scalar("loss", 2.0, 9)  # The same run once more.
    found = {str(path.relative_to(tmp_path)) for path in runs_at(tmp_path)}
    assert found == {"a", "b/c", "hf/checkpoint-9/trainer_state.json"}
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("loss", 1.0, 1)
    store, log = read(tmp_path)
    assert points(store, "train/loss") == {1: 1.0}
    assert log.notes[0].startswith("3 more runs in the folders below: a, ")


def test_the_trainer_state_that_has_come_furthest_counts(tmp_path: Path) -> None:
    for folder, step in (("", 40), ("checkpoint-20", 20)):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        history = [{"step": at, "loss": 5 - at / 10} for at in range(10, step + 1, 10)]
        state = {"global_step": step, "max_steps": 40, "log_history": history}
        (place / "trainer_state.json").write_text(json.dumps(state))
        os.utime(place / "trainer_state.json", (1e9 + 100 - step, 1e9 + 100 - step))
    store, log = read(tmp_path)
    assert store.last_step == 40 and log.facts.end == "finished" and log.facts.total_steps == 40


def test_several_logs_in_a_folder_are_several_runs(tmp_path: Path) -> None:
    for name in ("one.log", "two.log"):
        (tmp_path / name).write_text("step 1 loss 2.5\nstep 2 loss 2.25\n")
    (tmp_path / "config.yaml").write_text("lr: 0.1\nstep: 3\n")
    assert [path.name for path in runs_at(tmp_path)] == ["one.log", "two.log"]
    with pytest.raises(UnknownLogError, match=r"holds 2 runs; give one .*\.log"):
        open_log(tmp_path, SeriesStore())


def test_a_trackio_database_has_its_runs_behind_its_name(tmp_path: Path) -> None:
    database = tmp_path / "project.db"
    rows = training(40)
    for run, factor in (("first", 1), ("second", 2)):
        logged = [(row.step, {"train/loss": row.loss * factor, "note": "x"}) for row in rows]
        trackio_rows(database, run, logged)
    trackio_rows(database, "second", [(41, {"train/loss": "NaN", "deep": {"a": 1}})])
    with pytest.raises(UnknownLogError, match=r"holds 2 runs.*project\.db/"):
        open_log(database, SeriesStore())
    assert runs_at(tmp_path) == [database / "first", database / "second"]
    assert is_log(database / "second") and not is_log(database / "third")
    store, log = read(database / "second")
    found = points(store, "train/loss")
    assert found.pop(41) != found.get(41) and found == {row.step: 2 * row.loss for row in rows}
    assert points(store, "deep.a") == {41: 1.0} and store.span("time")[0] == 1767225601.0
    trackio_rows(database, "second", [(42, {"train/loss": 0.5})])
    assert log.poll() and points(store, "train/loss")[42] == 0.5 and not log.bad_lines


def test_every_program_s_log_is_found_in_its_folder(tmp_path: Path) -> None:
    from foreign_logs import FORMATS

    for number, name in enumerate(FORMATS):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = write_log(name, folder, training(12))
        found = logs_in(folder)
        assert found in ([path], [folder]), name
