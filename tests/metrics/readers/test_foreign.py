"""Other people's logs are read as they are: what can be read is shown, the rest is counted."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.tensorboard import SummaryWriter

from lmm_tui.metrics import names
from lmm_tui.metrics.readers.foreign import UnknownLogError, is_log, open_log
from lmm_tui.metrics.readers.log_lines import ConsoleLines, CsvLines, JsonLines, under_our_names
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


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (
            "Epoch:[2/3](100/900), loss: 6.125, logits_loss: 6.1, aux_loss: 0.0, "
            "lr: 0.00050000, epoch_time: 3.0min",
            {"step": 1000, "train/loss": 6.125, "logits_loss": 6.1, "aux_loss": 0.0,
             "train/lr": 5e-4, "epoch": 1 + 100 / 900},
        ),
        ("iter 100: loss 4.2000, time 12.50ms, mfu 3.10%",
         {"step": 100, "train/loss": 4.2}),
        ("step 250: train loss 2.1000, val loss 2.2000",
         {"step": 250, "train/loss": 2.1, "val/loss": 2.2}),
        ("step=7 loss=nan grad_norm=1e-3", {"step": 7, "train/grad_norm": 1e-3}),
        ("{'loss': '1.5', 'step': 8}", {"step": 8, "train/loss": 1.5}),
        ("loading the tokenizer: done", {}),
        ("loss: 3.5", {}),
    ],
)  # fmt: skip
def test_console_lines_of_known_programs(line: str, row: dict[str, float]) -> None:
    found = ConsoleLines().row(line.encode())
    assert found is not None
    assert {key: found.get(key) for key in row} == row
    assert bool(found) == bool(row)


def test_names_that_mean_ours_are_ours_and_the_rest_stay() -> None:
    row = under_our_names({"Loss": 1, "eval_loss": 2, "mine": 3, "global_step": 4, "note": "x"})
    assert row == {"step": 4, names.TRAIN_LOSS: 1, names.VAL_LOSS: 2, "mine": 3}
    assert under_our_names({"loss": 1.0}) is None


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


def test_what_is_no_log_is_refused_with_what_to_give(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.touch()
    for path in (tmp_path, picture, tmp_path / "none"):
        with pytest.raises(UnknownLogError, match=r"; (give|it may)"):
            open_log(path, SeriesStore())
    assert not is_log(tmp_path)


@given(st.binary(max_size=200), st.sampled_from([JsonLines, CsvLines, ConsoleLines]))
def test_no_bytes_bring_a_parser_down(
    line: bytes, kind: type[JsonLines] | type[CsvLines] | type[ConsoleLines]
) -> None:
    parser = kind()
    for given_line in (b"step,loss", line, line[::-1]):
        row = parser.row(given_line)
        assert not row or isinstance(row["step"], int)


@given(
    st.lists(
        st.tuples(st.integers(0, 2**50), st.floats(allow_nan=False, allow_infinity=False)),
        min_size=1,
    )
)
def test_csv_gives_back_what_was_written(rows: list[tuple[int, float]]) -> None:
    parser = CsvLines()
    out = io.StringIO()
    csv.writer(out).writerows([("step", "loss"), *rows])
    lines = out.getvalue().encode().splitlines()
    assert [parser.row(line) for line in lines][1:] == [
        {"step": step, names.TRAIN_LOSS: loss} for step, loss in rows
    ]


@given(st.integers(0, 2**50), st.floats(-1e300, 1e300))
def test_pairs_on_a_console_line_are_read_exactly(step: int, loss: float) -> None:
    row = {"step": step, names.TRAIN_LOSS: loss}
    for line in (f"step: {step}, loss: {loss!r}", f"[info] loss={loss!r} step={step}"):
        assert ConsoleLines().row(line.encode()) == row
