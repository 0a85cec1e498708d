"""Event files read as tensorboard's reader reads them, however they come; damage costs little."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import SummaryWriter

from lmm_tui.metrics.readers import event_files
from lmm_tui.metrics.readers.event_files import (
    EventReader,
    EventSource,
    find_event_files,
    read_event_files,
    sources_in,
)
from lmm_tui.metrics.series.series import SeriesStore

Points = dict[str, list[tuple[int, float]]]


def ours(folder: Path) -> Points:
    return points_of(read_event_files(find_event_files(folder)))


def points_of(store: SeriesStore) -> Points:
    found = {name: store.get(name) for name in store.names()}
    return {
        name: list(zip(series.steps.tolist(), series.values.tolist(), strict=True))
        for name, series in found.items()
        if series is not None
    }


def theirs(folder: Path) -> Points:
    """tensorboard's reader, of several values at a step the last."""
    log = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    log.Reload()
    found: Points = {
        tag: sorted({event.step: event.value for event in log.Scalars(tag)}.items())
        for tag in log.Tags()["scalars"]
    }
    for tag in log.Tags()["tensors"]:
        numbers = {it.step: it.tensor_proto.float_val for it in log.Tensors(tag)}
        if all(numbers.values()):
            found[tag] = sorted((step, number[0]) for step, number in numbers.items())
    return found


def write_with(writer: Any) -> None:
    for step in [*range(300), 10_000, 2**33]:
        writer.add_scalar("train/loss", 9.0 / (step + 1), step)
        if step % 7 == 0:
            writer.add_scalar("val/loss", -float(step), step)
        if step % 50 == 0:
            writer.add_scalars("many", {"a": step, "b": 0.0}, step)
            writer.add_text("note", "words", step)
    writer.add_scalar("语言/损失", float("inf"), 3)
    writer.add_scalar("train/loss", 7.0, 5)
    writer.close()


@pytest.mark.parametrize("module", ["torch.utils.tensorboard", "tensorboardX"])
def test_every_value_is_that_of_tensorboard_s_reader(tmp_path: Path, module: str) -> None:
    write_with(pytest.importorskip(module).SummaryWriter(str(tmp_path)))
    found = ours(tmp_path)
    assert found == theirs(tmp_path)
    assert len(found["train/loss"]) == 302


def test_what_lightning_logs_is_that_of_tensorboard_s_reader(tmp_path: Path) -> None:
    logger = pytest.importorskip("lightning.pytorch.loggers").TensorBoardLogger(tmp_path)
    for step in range(300):
        logger.log_metrics({"train_loss": 9.0 / (step + 1), "lr": 1e-3, "epoch": step // 100}, step)
        if step % 7 == 0:
            logger.log_metrics({"val_loss": -float(step)}, step)
    logger.finalize("success")
    expected = theirs(Path(logger.log_dir))
    assert expected.pop("epoch")[-1] == (299, 2.0)  # With us an axis.
    found = ours(Path(logger.log_dir))
    assert found == expected and len(found["train_loss"]) == 300


def test_numbers_in_tensors_are_read(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(5):
            writer.add_scalar("new", step / 3, step, new_style=True)
    assert ours(tmp_path) == theirs(tmp_path) != {}


@pytest.mark.parametrize("restarts", [(50,), (50, 20), (0,)])
def test_a_restart_purges_as_in_tensorboard(tmp_path: Path, restarts: tuple[int, ...]) -> None:
    for number, first in enumerate([None, *restarts]):
        suffix = f".{number}"
        writer = SummaryWriter(str(tmp_path), purge_step=first, filename_suffix=suffix)
        for step in range(first or 0, 100):
            writer.add_scalar("loss", step + number, step)
        writer.close()
        path = next(it for it in find_event_files(tmp_path) if it.name.endswith(suffix))
        path.rename(tmp_path / f"events.out.tfevents.{number}")
    assert ours(tmp_path) == theirs(tmp_path)


Event_ = tuple[int, dict[str, float]]
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 300) | st.integers(0, 2**40),
        st.dictionaries(
            st.sampled_from(["a", "b/c", "long/" + "x" * 130, "损失"]),
            st.floats(width=32, allow_nan=False),
            max_size=3,
        ),
    ),
    max_size=40,
)


def written(path: Path, events: list[Event_]) -> bytes:
    with path.open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=1e9, file_version="brain.Event:2").SerializeToString())
        for number, (step, values) in enumerate(events):
            summary = Summary(
                value=[Summary.Value(tag=tag, simple_value=it) for tag, it in values.items()]
            )
            event = Event(wall_time=1e9 + number, step=step, summary=summary)
            writer.write(event.SerializeToString())
    return path.read_bytes()


def expected(events: list[Event_]) -> Points:
    found: dict[str, dict[int, float]] = {}
    for step, values in events:
        for tag, value in values.items():
            found.setdefault(tag, {})[step] = value
    return {tag: sorted(points.items()) for tag, points in found.items()}


@settings(max_examples=20, deadline=None)
@given(events=EVENTS, cuts=st.lists(st.floats(0, 1), max_size=5))
def test_a_growing_file_ends_as_one_read_at_once(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event_], cuts: list[float]
) -> None:
    path = tmp_path_factory.mktemp("events") / "events.out.tfevents.1"
    data = written(path, events)
    path.write_bytes(b"")
    store = SeriesStore()
    reader = EventReader(lambda: [EventSource(path)], store)
    at = 0
    for end in [*sorted(round(cut * len(data)) for cut in cuts), len(data)]:
        with path.open("ab") as file:
            file.write(data[at:end])
        at = end
        reader.poll()
    assert points_of(store) == expected(events)
    assert not reader.bad_lines and not reader.behind and not reader.poll()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_damage_brings_it_down_and_none_of_it_is_shown(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("events") / "events.out.tfevents.1"
    events = [(step, {"a": float(step)}) for step in range(30)]
    whole = bytearray(written(path, events))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    store = SeriesStore()
    reader = EventReader(lambda: [EventSource(path)], store)
    reader.poll()
    found = points_of(store).get("a", [])
    assert all(step == value for step, value in found)
    assert reader.bad_lines or len(found) == 30


def test_a_file_that_ends_anywhere_shows_what_is_whole_and_waits(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1"
    events: list[Event_] = [(step, {"a": float(step)}) for step in range(12)]
    whole = written(path, events)
    size = (len(whole) - len(written(path, []))) / 12
    shown = 0
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        store = SeriesStore()
        reader = EventReader(lambda: [EventSource(path)], store)
        reader.poll()
        found = points_of(store).get("a", [])
        assert found == [(step, float(step)) for step in range(len(found))]
        assert not reader.bad_lines and shown <= len(found) <= end / size
        shown = len(found)
    assert shown == 11


def test_one_damaged_record_costs_one_point(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1"
    data = bytearray(written(path, [(step, {"a": float(step)}) for step in range(30)]))
    data[-5] ^= 1  # In the last value.
    path.write_bytes(data)
    store = SeriesStore()
    reader = EventReader(lambda: [EventSource(path)], store)
    reader.poll()
    assert len(points_of(store)["a"]) == 29 and reader.bad_lines == 1


def test_chunks_and_budgets_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_files, "_CHUNK_BYTES", 64)
    events = [(step, {"a": 1.0 * step, "long/" + "x" * 130: 2.0}) for step in range(50)]
    written(tmp_path / "events.out.tfevents.1", events)
    assert ours(tmp_path) == expected(events)
    store = SeriesStore()
    reader = EventReader(lambda: sources_in(tmp_path), store)
    polls = 0
    while reader.poll(0.0) or reader.behind:
        polls += 1
    assert polls > 10 and points_of(store) == expected(events)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def replace(path: Path) -> None:
    path.unlink()
    written(path, [(step, {"a": -1.0}) for step in range(9)])


@pytest.mark.parametrize("change", [cut, replace])
def test_a_file_that_is_cut_or_replaced_is_read_anew(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "events.out.tfevents.1"
    written(path, [(step, {"a": float(step)}) for step in range(30)])
    store = SeriesStore()
    reader = EventReader(lambda: sources_in(tmp_path), store)
    reader.poll()
    change(path)
    assert reader.poll() and points_of(store) == ours(tmp_path)


def test_steps_that_go_back_are_put_in_order(tmp_path: Path) -> None:
    """An epoch's number as the step of a value between those of the steps."""
    path = tmp_path / "events.out.tfevents.1"
    store = SeriesStore()
    reader = EventReader(lambda: [EventSource(path)], store)
    events: list[Event_] = []
    for epoch in range(3):
        events += [(step, {"a": 1.0}) for step in range(epoch * 20, epoch * 20 + 20)]
        events.append((epoch, {"val": float(epoch)}))
        written(path, events)
        reader.poll()
        assert points_of(store) == expected(events)


def test_an_epoch_among_the_tags_is_an_axis(tmp_path: Path) -> None:
    with SummaryWriter(tmp_path) as writer:
        for step in range(9):
            writer.add_scalar("train/loss", 1.0, step)
            if step % 2 == 0:
                writer.add_scalar("epoch", step / 4, step)
    store = read_event_files(find_event_files(tmp_path))
    assert store.names() == ["train/loss"] and store.span("epoch") == (0.0, 2.0)
