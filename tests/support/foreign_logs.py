"""One training as twenty-odd programs log it: written here as they write, for tests of the readers.

`FORMATS` has, by the name of the program, the name of the file and what is in it.
"""

from __future__ import annotations

import gzip
import json
import math
import random
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

STARTED = 1_700_000_000
STEPS_AN_EPOCH = 100


@dataclass(frozen=True)
class TrainingRow:
    step: int
    loss: float
    lr: float
    norm: float
    speed: int
    val: float | None
    """Every tenth row has one."""

    @property
    def epoch(self) -> float:
        return self.step / STEPS_AN_EPOCH

    @property
    def time(self) -> float:
        return float(STARTED + 2 * self.step)


def training(rows: int, seed: int = 0) -> list[TrainingRow]:
    """A healthy training: the loss falls from 9 to about 3, with noise."""
    chance = random.Random(seed)
    return [
        TrainingRow(
            step,
            round(3 + 6 * math.exp(-step / 80) + chance.gauss(0, 0.03), 4),
            round(min(step / 20, 1) * 6e-4, 8),
            round(0.4 + 2 * math.exp(-step / 30) + abs(chance.gauss(0, 0.03)), 4),
            int(120_000 + chance.gauss(0, 900)),
            round(3.05 + 6 * math.exp(-step / 80), 4) if step % 10 == 0 else None,
        )
        for step in range(1, rows + 1)
    ]


Rows = Sequence[TrainingRow]
Write = Callable[[Rows], bytes]


def _lines(line: Callable[[TrainingRow], str]) -> Write:
    return lambda rows: "".join(f"{line(row)}\n" for row in rows).encode()


def _json(row: Callable[[TrainingRow], Iterable[dict[str, object]]]) -> Write:
    return lambda rows: "".join(
        f"{json.dumps(found)}\n" for one in rows for found in row(one)
    ).encode()


def _val(row: TrainingRow, text: str) -> str:
    """A line of validation, where the row has one."""
    return "" if row.val is None else "\n" + text.format(step=row.step, val=row.val)


def _state(rows: Rows) -> bytes:
    history: list[dict[str, object]] = []
    for row in rows:
        at = {"epoch": row.epoch, "step": row.step}
        history.append({"loss": row.loss, "grad_norm": row.norm, "learning_rate": row.lr, **at})
        if row.val is not None:
            history.append({"eval_loss": row.val, "eval_runtime": 2.5, **at})
    history.append({"train_runtime": 99.0, "train_loss": 4.5, "epoch": 3.0, "step": len(rows)})
    state = {"global_step": len(rows), "max_steps": len(rows), "log_history": history}
    return json.dumps(state, indent=1).encode()


def _table(delimiter: str, names: str, cells: Callable[[TrainingRow], Sequence[object]]) -> Write:
    def write(rows: Rows) -> bytes:
        lines = [names.replace(",", delimiter)]
        for row in rows:
            lines.append(delimiter.join("" if one is None else str(one) for one in cells(row)))
        return ("\n".join(lines) + "\n").encode()

    return write


def _events(rows: Rows) -> bytes:
    class Kept:
        data = b""

        def write(self, data: bytes) -> None:
            self.data += data

    kept = Kept()
    writer = RecordWriter(kept)
    writer.write(Event(wall_time=STARTED, file_version="brain.Event:2").SerializeToString())
    for row in rows:
        tags = {"train/loss": row.loss, "train/learning_rate": row.lr, "train/grad_norm": row.norm}
        tags |= {} if row.val is None else {"eval/loss": row.val}
        for tag, value in tags.items():
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            event = Event(wall_time=row.time, step=row.step, summary=summary)
            writer.write(event.SerializeToString())
    return kept.data


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def wandb_field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def wandb_items(tag: int, values: dict[str, object]) -> bytes:
    """Names and values as JSON, each a field of that number."""
    return b"".join(
        wandb_field(
            tag, wandb_field(1, name.encode()) + wandb_field(16, json.dumps(value).encode())
        )
        for name, value in values.items()
    )


def wandb_file(records: Iterable[bytes]) -> bytes:
    """Records framed as LevelDB's log does."""
    out = bytearray(b":W&B" + struct.pack("<HB", 0xBEE1, 0))
    for record in records:
        data, first = record, True
        while data or first:
            room = 32768 - len(out) % 32768
            if room < 7:
                out += bytes(room)
                continue
            part, data = data[: room - 7], data[room - 7 :]
            kind = {(1, 0): 1, (1, 1): 2, (0, 1): 3, (0, 0): 4}[first, bool(data)]
            out += struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            first = False
    return bytes(out)


def wandb_exit(code: int) -> bytes:
    return wandb_field(18, b"\x08" + _varint(code) if code else b"")


def _wandb(rows: Rows) -> bytes:
    records = []
    for row in rows:
        values: dict[str, object] = {"_step": row.step, "_timestamp": row.time, "loss": row.loss}
        values |= {"lr": row.lr, "grad_norm": row.norm}
        values |= {} if row.val is None else {"val_loss": row.val}
        records.append(wandb_field(2, wandb_items(1, values)))
    return wandb_file([*records, wandb_exit(0)])


def trackio_rows(database: Path, run: str, rows: Iterable[tuple[int, dict[str, object]]]) -> None:
    """Add rows of a run to a database, as trackio's tables are."""
    with closing(sqlite3.connect(database)) as opened:
        opened.execute(
            "CREATE TABLE IF NOT EXISTS metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT "
            "NOT NULL, timestamp TEXT NOT NULL, run_name TEXT NOT NULL, step INTEGER NOT NULL, "
            "metrics TEXT NOT NULL)"
        )
        opened.executemany(
            "INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) "
            "VALUES (?, ?, ?, ?, ?)",
            [
                (f"id-{run}", f"2026-01-01T00:{step // 60:02}:{step % 60:02}+00:00", run, step,
                 json.dumps(values))
                for step, values in rows
            ],
        )  # fmt: skip
        opened.commit()


def _epochs(row: TrainingRow) -> str:
    return (
        f"Epoch {row.step}/300\n300/300 [======] - 3s 9ms/step - loss: {row.loss} - "
        f"acc: 0.5 - val_loss: {row.loss + 0.05:.4f}"
    )


def _minimind(row: TrainingRow) -> str:
    epoch, at = divmod(row.step - 1, STEPS_AN_EPOCH)
    return (
        f"Epoch:[{epoch + 1}/9]({at + 1}/{STEPS_AN_EPOCH}), loss: {row.loss}, logits_loss: "
        f"{row.loss}, aux_loss: 0.0000, lr: {row.lr:.8f}, epoch_time: 3.0min"
    )


def _within(row: TrainingRow) -> tuple[int, int]:
    """The epoch from 1 on, and the step in it from 1 on."""
    epoch, at = divmod(row.step - 1, STEPS_AN_EPOCH)
    return epoch + 1, at + 1


FORMATS: dict[str, tuple[str, Write]] = {
    "Hugging Face": (
        "train.log",
        _lines(lambda row: (
            f"{{'loss': {row.loss}, 'grad_norm': {row.norm}, 'learning_rate': {row.lr}, "
            f"'epoch': {row.epoch}}}" + _val(row, "{{'eval_loss': {val}, 'eval_runtime': 2.5}}")
        )),
    ),
    "Hugging Face with a bar": (
        "nohup.out",
        _lines(lambda row: (
            f" 1%|#  | {row.step}/300 [00:10<00:20,  2.00it/s]\r{{'loss': '{row.loss}', "
            f"'grad_norm': '{row.norm}', 'learning_rate': '{row.lr}', 'epoch': '{row.epoch}'}}"
        )),
    ),
    "trainer_state.json": ("trainer_state.json", _state),
    "LLaMA-Factory": (
        "trainer_log.jsonl",
        _json(lambda row: [
            {"current_steps": row.step, "total_steps": 300, "loss": row.loss, "lr": row.lr,
             "epoch": row.epoch, "percentage": 5.0, "elapsed_time": "0:00:05"},
            *([] if row.val is None else [{"current_steps": row.step, "eval_loss": row.val}]),
        ]),
    ),
    "Keras CSVLogger": (
        "training_log.csv",
        _table(",", "epoch,accuracy,loss,val_accuracy,val_loss",
               lambda row: (row.step, 0.5, row.loss, 0.5, f"{row.loss + 0.05:.4f}")),
    ),
    "Keras": ("keras.log", _lines(_epochs)),
    "fastai": (
        "history.csv",
        _table(",", "epoch,train_loss,valid_loss,accuracy,time",
               lambda row: (row.step, row.loss, f"{row.loss + 0.05:.4f}", 0.5, "00:12")),
    ),
    "fastai's table": (
        "fastai.log",
        lambda rows: b"epoch     train_loss  valid_loss  accuracy  time    \n" + _lines(
            lambda row: f"{row.step}         {row.loss}    {row.loss + 0.05:.4f}  0.5    00:12     "
        )(rows),
    ),
    "Lightning": (
        "metrics.csv",
        _table(",", "epoch,lr-AdamW,step,train_loss_step,val_loss",
               lambda row: (int(row.epoch), row.lr, row.step, row.loss, row.val)),
    ),
    "detectron2": (
        "metrics.json",
        _json(lambda row: [{"iteration": row.step, "total_loss": row.loss, "lr": row.lr,
                            "time": 0.5, "data_time": 0.01}]),
    ),
    "MMEngine": (
        "scalars.json",
        _json(lambda row: [
            {"lr": row.lr, "loss": row.loss, "time": 0.5, "epoch": _within(row)[0],
             "iter": row.step, "memory": 99, "step": row.step},
            *([{"accuracy/top1": 50.5, "time": 0.2, "step": _within(row)[0]}]
              if _within(row)[1] == STEPS_AN_EPOCH else []),
        ]),
    ),
    "Megatron": (
        "megatron.log",
        _lines(lambda row: (
            f" iteration {row.step:8d}/     300 | consumed samples: {16 * row.step:12d} | elapsed "
            f"time per iteration (ms): 820.5 | learning rate: {row.lr:.6E} | lm loss: "
            f"{row.loss:.6E} | loss scale: 1.0 | grad norm: {row.norm} | number of skipped "
            "iterations:   0 |"
            + _val(row, " validation loss at iteration {step} | lm loss value: {val} |")
        )),
    ),
    "torchtitan": (
        "titan.log",
        _lines(lambda row: (
            f"[titan] 2026-03-01 14:32:10,897 - root - INFO - \x1b[31mstep: {row.step:2}  "
            f"\x1b[32mloss: {row.loss:8.5f}  \x1b[38;2;180;60;0mgrad_norm: {row.norm:7.4f}  "
            f"\x1b[34mmemory: 2.47GiB(3.12%)  \x1b[36mtps: {row.speed:,}\x1b[39m"
        )),
    ),
    "nanochat": (
        "speedrun.log",
        _lines(lambda row: (
            f"step {row.step:05d}/300 (0.33%) | loss: {row.loss:.6f} | lrm: 1.00 | dt: 420.12ms | "
            f"tok/sec: {row.speed:,} | mfu: 45.12 | total time: 0.70m"
            + _val(row, "Step {step:05d} | Validation bpb: 0.9123")
        )),
    ),
    "nanoGPT": (
        "nanogpt.log",
        _lines(lambda row: (
            f"iter {row.step}: loss {row.loss}, time 12.50ms, mfu 3.10%"
            + _val(row, "step {step}: train loss {val}, val loss {val}")
        )),
    ),
    "modded-nanogpt": (
        "record.txt",
        _lines(lambda row: (
            f"step:{row.step}/300 train_loss:{row.loss} train_time:{row.step}ms step_avg:95.1ms"
            + _val(row, "step:{step}/300 val_loss:{val} train_time:9ms step_avg:95.1ms")
        )),
    ),
    "llm.c": (
        "llmc.log",
        _lines(lambda row: (
            f"step {row.step:4d}/300 | loss {row.loss} (+0.10z)| norm {row.norm} (-0.10z)| "
            f"lr {row.lr:.2e} | 123.45 ms | 45.1% bf16 MFU | {row.speed} tok/s"
            + _val(row, "val loss {val}")
        )),
    ),
    "llm.c's main.log": (
        "main.log",
        _lines(lambda row: (
            f"s:{row.step} trl:{row.loss} lr:{row.lr:.8f} norm:{row.norm}"
            + _val(row, "s:{step} tel:{val}")
        )),
    ),
    "llama2.c": (
        "llama2c.log",
        _lines(lambda row: f"{row.step} | loss {row.loss} | lr {row.lr:e} | 300.10ms | mfu 3.12%"),
    ),
    "OLMo": (
        "olmo.log",
        _lines(lambda row: (
            f"2024-01-01 10:00:00.000 host:0  olmo.train:908  INFO    [step={row.step}/300]\n"
            f"    optim/total_grad_norm={row.norm}\n    train/CrossEntropyLoss={row.loss}\n"
            f"    throughput/device/tokens_per_second={row.speed:,}"
        )),
    ),
    "litgpt": (
        "litgpt.log",
        _lines(lambda row: (
            f"Epoch 1 | iter {row.step} step {row.step} | loss train: {row.loss}, val: n/a | "
            "iter time: 271.44 ms (step)" + _val(row, "iter {step}: val loss {val}, val time: 9 ms")
        )),
    ),
    "fairseq": (
        "fairseq.log",
        _lines(lambda row: (
            f"2024-02-27 08:15:10 | INFO | train_inner | epoch 001: {row.step:6d} / 1000 "
            f"loss={row.loss}, num_updates={row.step}, lr={row.lr}, gnorm={row.norm}"
        )),
    ),
    "MiniMind": ("minimind.log", _lines(_minimind)),
    "a bar of tqdm": (
        "bar.log",
        lambda rows: b"".join(
            f"\rstep {row.step}:  1%|# | {row.step}/300 [00:10<00:10, 2.0it/s, loss={row.loss}]"
            .encode() for row in rows
        ) + b"\n",
    ),
    "TSV": (
        "loss.tsv",
        _table("\t", "EPOCH,TRAIN_LOSS,DEV_LOSS",
               lambda row: (row.step, row.loss, f"{row.loss + 0.05:.4f}")),
    ),
    "compressed JSON lines": (
        "train.jsonl.gz",
        lambda rows: gzip.compress(
            _json(lambda row: [{"step": row.step, "loss": row.loss, "lr": row.lr}])(rows)
        ),
    ),
    "nested JSON": (
        "log.json",
        _json(lambda row: [{"step": str(row.step), "train": {"loss": str(row.loss)},
                            "timestamp": int(row.time * 1000)}]),
    ),
    "TensorBoard": ("events.out.tfevents.1700000000.host.1.0", _events),
    "W&B": ("run-a.wandb", _wandb),
}  # fmt: skip

WITHOUT_VAL = frozenset(
    ("Hugging Face with a bar", "detectron2", "MMEngine", "torchtitan", "llama2.c", "OLMo",
     "fairseq", "MiniMind", "a bar of tqdm", "compressed JSON lines", "nested JSON", "nanochat")
)  # fmt: skip
"""Programs that write no validation loss here."""


def write_log(name: str, folder: Path, rows: Rows) -> Path:
    file, write = FORMATS[name]
    path = folder / file
    path.write_bytes(write(rows))
    return path
