"""A path is known by its content: what can be read is shown, what is no log is refused."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from lmm_tui.metrics import names
from lmm_tui.metrics.readers.foreign import UnknownLogError, is_log, open_log
from lmm_tui.metrics.series.series import SeriesStore


def read(path: Path) -> tuple[SeriesStore, int]:
    store = SeriesStore()
    follower = open_log(path, store)
    assert follower.poll()
    return store, follower.bad_lines


def points(store: SeriesStore, name: str) -> list[tuple[int, float]]:
    series = store.get(name)
    assert series is not None, store.names()
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def test_a_trainer_state_is_followed(tmp_path: Path) -> None:
    state = tmp_path / "checkpoint-20" / "trainer_state.json"
    state.parent.mkdir()
    history = [
        {"step": 10, "loss": 2.5, "learning_rate": 1e-4, "grad_norm": 0.7, "epoch": 0.1},
        {"step": 20, "loss": 2.0, "learning_rate": 5e-5, "grad_norm": 0.6, "epoch": 0.2},
        {"step": 20, "eval_loss": 2.2, "epoch": 0.2},
    ]
    state.write_text(json.dumps({"log_history": history[:1]}))
    store = SeriesStore()
    follower = open_log(tmp_path, store)
    assert follower.poll() and not follower.poll()
    state.write_text(json.dumps({"log_history": history}))
    assert follower.poll()
    assert points(store, names.TRAIN_LOSS) == [(10, 2.5), (20, 2.0)]
    assert store.span("epoch") == (0.1, 0.2)
    assert points(store, names.VAL_LOSS) == [(20, 2.2)]
    state.write_text('{"log_hist')
    assert follower.poll() and follower.bad_lines == 1
    assert len(store) == 2


def test_lightning_csv_is_followed_across_rewrites(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text("epoch,step,train_loss\n0,0,3.0\n0,1,2.5\n")
    store = SeriesStore()
    follower = open_log(tmp_path, store)
    assert follower.poll()
    new = tmp_path / "new"
    new.write_text("epoch,step,train_loss,val_loss\n0,0,3.0,\n0,1,2.5,\n0,1,,2.75\n,,\n")
    new.replace(file)
    assert follower.poll() and follower.bad_lines == 1
    assert points(store, names.TRAIN_LOSS) == [(0, 3.0), (1, 2.5)]
    assert points(store, names.VAL_LOSS) == [(1, 2.75)]


def test_event_files_are_read_value_for_value_and_followed(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(5):
            writer.add_scalar("Loss/train", 3.0 - step / 4, step)
    store = SeriesStore()
    follower = open_log(tmp_path, store)
    assert follower.poll() and not follower.poll()
    with SummaryWriter(str(tmp_path), purge_step=3, filename_suffix=".2") as writer:
        writer.add_scalar("Loss/train", 9.0, 3)
    assert follower.poll()
    assert points(store, names.TRAIN_LOSS) == [(0, 3.0), (1, 2.75), (2, 2.5), (3, 9.0)]


def test_a_damaged_event_file_is_read_up_to_the_damage(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(50):
            writer.add_scalar("x", float(step), step)
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    found = points(read(tmp_path)[0], "x")
    assert 10 < len(found) < 50 and all(step == value for step, value in found)


def test_torn_lines_wait_and_broken_ones_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_bytes(b'{"iter":1,"loss":2.0}\nnonsense\n{"loss":1}\n\n{"iter":2,"lo')
    store = SeriesStore()
    follower = open_log(file, store)
    assert follower.poll() and follower.bad_lines == 2
    with file.open("ab") as more:
        more.write(b'ss":1.5}\n')
    assert follower.poll()
    assert points(store, names.TRAIN_LOSS) == [(1, 2.0), (2, 1.5)]


ROWS = [{"step": step, "loss": 5 - step / 4} for step in range(1, 9)]
SAME = [(step, 5 - step / 4) for step in range(1, 9)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.log", "a.txt", "a", "a.csv"])
@pytest.mark.parametrize(
    "content",
    [
        "\n".join(json.dumps(row) for row in ROWS) + "\n",
        json.dumps(ROWS, indent=1),
        json.dumps({"log_history": ROWS}),
        "".join(json.dumps(row, indent=2) + "\n" for row in ROWS),
        "step,loss\n" + "".join(f"{row['step']},{row['loss']}\n" for row in ROWS),
        "step\tloss\n" + "".join(f"{row['step']}\t{row['loss']}\n" for row in ROWS),
        "".join(f"step {row['step']}: loss {row['loss']}\n" for row in ROWS),
    ],
)
def test_the_content_tells_the_format_and_the_name_does_not(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    store, bad = read(tmp_path / name)
    assert points(store, names.TRAIN_LOSS) == SAME and not bad


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("compressed", [False, True])
def test_encodings_and_ends_of_lines_make_no_difference(
    tmp_path: Path, encoding: str, end: str, compressed: bool
) -> None:
    text = end.join(json.dumps(row) for row in ROWS) + end
    data = text.encode(encoding)
    file = tmp_path / "log.gz"
    file.write_bytes(gzip.compress(data) if compressed else data)
    store, bad = read(file)
    assert points(store, names.TRAIN_LOSS) == SAME and not bad


@pytest.mark.parametrize(
    ("content", "first"),
    [("step,loss\n1,2.0\n2,1.9", 1), ("step 1: loss 2.0\nstep 2: loss 1.9", 1)],
)
def test_the_last_line_counts_without_its_end_once_nobody_writes(
    tmp_path: Path, content: str, first: int
) -> None:
    file = tmp_path / "log"
    file.write_text(content)
    store = SeriesStore()
    follower = open_log(file, store)
    assert follower.poll() and len(store) == first
    os.utime(file, (1e9, 1e9))
    assert follower.poll() and points(store, names.TRAIN_LOSS) == [(1, 2.0), (2, 1.9)]
    with file.open("a") as more:
        more.write("5\n")
    assert follower.poll() and points(store, names.TRAIN_LOSS) == [(1, 2.0), (2, 1.95)]


def test_a_whole_object_counts_at_once_without_the_end_of_its_line(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.9}')
    store = SeriesStore()
    follower = open_log(file, store)
    assert follower.poll() and points(store, names.TRAIN_LOSS) == [(1, 2.0), (2, 1.9)]
    with file.open("a") as more:
        more.write('\n{"step": 3, "loss": 1.8}\n')
    assert follower.poll() and len(store) == 3 and not follower.bad_lines


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "binary data"),
        (b'{"model": "small", "lr": 0.1}', "without a history"),
        (b"model: small\nlr: 0.001\nlayers: 3\n", "is a configuration"),
    ],
)
def test_what_is_no_log_is_refused_by_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    for name in ("events.out.tfevents.1.host", "a.yaml"):
        file = tmp_path / name
        if said != "is a configuration" or name == "a.yaml":
            file.write_bytes(content)
            with pytest.raises(UnknownLogError, match=said):
                open_log(file, SeriesStore())


def test_a_folder_stands_for_the_one_log_in_it_or_below(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(UnknownLogError, match="; give|looked for"):
            open_log(place, SeriesStore())
    assert not is_log(tmp_path)
    first = tmp_path / "lightning_logs" / "version_0" / "metrics.csv"
    first.parent.mkdir(parents=True)
    first.write_text("epoch,step,train_loss\n0,9,2.5\n")
    (first.parent / "hparams.yaml").write_text("lr: 0.1\n")
    assert is_log(tmp_path)
    assert points(read(tmp_path)[0], names.TRAIN_LOSS) == [(9, 2.5)]
    second = tmp_path / "lightning_logs" / "version_1" / "metrics.csv"
    second.parent.mkdir()
    second.write_text("epoch,step,train_loss\n0,9,1.5\n")
    os.utime(first, (1e9, 1e9))
    with pytest.raises(UnknownLogError, match=r"holds 2 runs.*version_1.*version_0"):
        open_log(tmp_path, SeriesStore())


def test_the_furthest_trainer_state_counts_whatever_the_times_of_files(tmp_path: Path) -> None:
    for step, when in ((40, 1e9), (20, 2e9)):
        state = tmp_path / f"checkpoint-{step}" / "trainer_state.json"
        state.parent.mkdir()
        history = [{"step": at, "loss": at / 10} for at in range(10, step + 1, 10)]
        state.write_text(json.dumps({"global_step": step, "log_history": history}))
        os.utime(state, (when, when))
    assert read(tmp_path)[0].last_step == 40
