"""How a run ended is said where its log says it, and only there; what is left out is counted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from foreign_logs import wandb_exit, wandb_field, wandb_file, wandb_items
from series_points import points

from lmm_tui.metrics.readers.foreign import OpenLog, open_log
from lmm_tui.metrics.readers.metric_names import NamesFileError, common_names
from lmm_tui.metrics.series.series import SeriesStore

LINES = "".join(f"step {step}/9 loss {5 - step / 4}\n" for step in range(1, 10))
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 3\nValueError: no data\n'


def read(path: Path, content: str | bytes) -> tuple[SeriesStore, OpenLog]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, (1e9, 1e9))
    store = SeriesStore()
    log = open_log(path, store)
    log.poll()
    return store, log


@pytest.mark.parametrize(
    ("name", "content", "end"),
    [
        ("a.log", LINES, ("", "", 9)),
        ("a.log", LINES + TRACEBACK, ("failed", "ValueError: no data", 9)),
        ("a.log", TRACEBACK + LINES, ("", "", 9)),
        ("a.log", "{'loss': 2.5, 'epoch': 1.0}\n{'train_runtime': 9.5}\n", ("finished", "", 0)),
        ("a.jsonl", '{"current_steps": 4, "total_steps": 9, "loss": 2}\n', ("", "", 9)),
        ("a.jsonl", '{"current_steps": 9, "total_steps": 9, "loss": 2}\n', ("finished", "", 9)),
        ("b.jsonl", '{"step": 9, "loss": 2}\n', ("", "", 0)),
        ("a.csv", "step,loss\n1,2\n", ("", "", 0)),
    ],
)
def test_a_log_says_how_its_run_ended(
    tmp_path: Path, name: str, content: str, end: tuple[str, str, int]
) -> None:
    _, log = read(tmp_path / name, content)
    assert (log.facts.end, log.facts.error, log.facts.total_steps) == end


def wandb_row(step: int, **values: object) -> bytes:
    whole = {"_step": step, "_timestamp": 1.7e9 + step, **values}
    return wandb_field(2, wandb_items(1, whole))


def test_wandb_says_how_its_run_ended(tmp_path: Path) -> None:
    rows = [wandb_row(step, loss=2.5) for step in range(3)]
    for number, (records, end) in enumerate(
        [(rows, ""), ([*rows, wandb_exit(0)], "finished"), ([*rows, wandb_exit(3)], "failed")]
    ):
        _, log = read(tmp_path / f"run-{number}.wandb", wandb_file(records))
        assert log.facts.end == end and log.facts.tells_end
    assert log.facts.error == "exit code 3"


def test_parts_of_one_wandb_run_are_one_curve(tmp_path: Path) -> None:
    parts = {"20260101_000000": range(20), "20260102_000000": range(15, 30)}
    for when, steps in parts.items():
        rows = [wandb_row(step, loss=float(step), part=when == "x") for step in steps]
        path = tmp_path / f"offline-run-{when}-abc" / "run-abc.wandb"
        store, log = read(path, wandb_file(rows))
    other = tmp_path / "offline-run-20251231_000000-abcd" / "run-abcd.wandb"
    read(other, wandb_file([wandb_row(1, loss=9.0)]))
    assert points(store, "train/loss") == {step: float(step) for step in range(30)}
    assert log.notes == [
        "5 rows left out: a resumed run repeats their steps",
        "2 parts of one run are joined",
    ]


def test_wandb_s_own_step_metric_is_the_axis(tmp_path: Path) -> None:
    define = wandb_field(12, wandb_field(2, b"*") + wandb_field(4, b"my/iteration"))
    rows = [wandb_row(step, loss=2.5, **{"my/iteration": 100 * step}) for step in range(1, 4)]
    store, _ = read(tmp_path / "run-a.wandb", wandb_file([define, *rows]))
    assert points(store, "train/loss") == {100: 2.5, 200: 2.5, 300: 2.5}
    never = [wandb_row(step, loss=2.5) for step in range(3)]
    store, _ = read(tmp_path / "run-b.wandb", wandb_file([define, *never]))
    assert points(store, "train/loss") == {0: 2.5, 1: 2.5, 2: 2.5}


def test_wandb_s_system_metrics_are_at_the_rows_of_their_times(tmp_path: Path) -> None:
    def sample(second: int, **values: object) -> bytes:
        seconds, out = 1_700_000_000 + second, b""
        while seconds > 127:
            out += bytes([seconds & 127 | 128])
            seconds >>= 7
        stamp = b"\x08" + out + bytes([seconds])
        return wandb_field(7, wandb_field(2, stamp) + wandb_items(3, values))

    rows = [wandb_row(step, loss=2.5) for step in range(0, 30, 10)]
    records = [sample(0, cpu=5.5), rows[0], sample(9, cpu=7.5), rows[1], rows[2],
               sample(25, cpu=9.5, **{"gpu.0.gpu": 50})]  # fmt: skip
    store, log = read(tmp_path / "run-a.wandb", wandb_file(records))
    assert points(store, "system/cpu") == {0: 7.5, 20: 9.5}
    assert points(store, "system/gpu.0.gpu") == {20: 50.0}
    assert log.notes == ["1 system values left out: a later one is at the same step"]


def test_a_validation_whose_step_is_its_epoch_is_at_the_end_of_that(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    for step in range(10, 101, 10):
        rows.append({"loss": 5 - step / 50, "time": 0.5, "epoch": 1 + (step - 1) // 50,
                     "iter": step, "step": step})  # fmt: skip
        if step % 50 == 0:
            rows.append({"accuracy/top1": step / 2, "time": 0.2, "step": step // 50})
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    store, log = read(tmp_path / "scalars.json", lines)
    assert list(points(store, "train/loss")) == list(range(10, 101, 10))
    assert points(store, "accuracy/top1") == {50: 25.0, 100: 50.0}
    assert points(store, "val/time") == {50: 0.2, 100: 0.2} and not log.notes


def test_a_validation_at_step_0_is_at_the_end_of_its_epoch(tmp_path: Path) -> None:
    rows = "0,49,2.5,\n0,99,2.4,\n0,0,,2.6\n1,149,2.3,\n1,199,2.2,\n1,0,,2.5\n"
    store, log = read(tmp_path / "metrics.csv", "epoch,step,train_loss,val_loss\n" + rows)
    assert points(store, "train/loss") == {49: 2.5, 99: 2.4, 149: 2.3, 199: 2.2}
    assert points(store, "val/loss") == {99: 2.6, 199: 2.5} and not log.notes


def test_a_second_header_with_more_columns_counts(tmp_path: Path) -> None:
    text = (
        "step,loss,acc\n1,2.5,0.1\n2,2.4,0.2\nstep,acc,loss,lr\n3,0.3,2.3,0.001\n4,0.4,2.2,0.001\n"
    )
    store, log = read(tmp_path / "log.csv", text)
    assert points(store, "train/loss") == {1: 2.5, 2: 2.4, 3: 2.3, 4: 2.2}
    assert points(store, "acc") == {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4} and not log.bad_lines


def test_short_lists_are_metrics_by_number(tmp_path: Path) -> None:
    row = {"step": 1, "train": {"loss": [2.5]}, "lrs": [0.1, 0.2], "tags": ["a", "b"]}
    store, _ = read(tmp_path / "a.jsonl", json.dumps(row) + "\n")
    assert points(store, "lrs.1") == {1: 0.2} and store.names() == ["train/loss", "lrs.0", "lrs.1"]


def test_what_is_replaced_is_counted_and_said(tmp_path: Path) -> None:
    store, log = read(tmp_path / "a.log", "step 1 loss 2.5\nstep 2 loss 2.0\nstep 2 loss 1.5\n")
    assert points(store, "train/loss") == {1: 2.5, 2: 1.5}
    assert log.notes == ["1 values left out: a later one has the same step"]


def test_names_of_the_user_s_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    table = tmp_path / "lmm-tui" / "names.toml"
    table.parent.mkdir()
    table.write_text('"train/loss" = ["my score"]\n"mine/x" = ["y"]\n')
    try:
        common_names.cache_clear()
        store, _ = read(tmp_path / "a.log", "step: 1, my_score: 2.5, loss: 3.5, y: 4\n")
        assert store.names() == ["train/loss", "loss", "mine/x"]
        assert points(store, "train/loss") == {1: 2.5} and points(store, "loss") == {1: 3.5}
        for broken, said in (("x = 3", "x: give a list of names"), ("x = ", "is not TOML")):
            common_names.cache_clear()
            table.write_text(broken)
            with pytest.raises(NamesFileError, match=said):
                open_log(tmp_path / "a.log", SeriesStore())
    finally:
        common_names.cache_clear()
