"""What training programs print, a format after the other, written here as they print it.

The values are known as they were printed; each is also found by a regular expression of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from series_points import points

from lmm_tui.metrics.readers.console_log import ConsoleLog
from lmm_tui.metrics.readers.foreign import open_log
from lmm_tui.metrics.series.series import SeriesStore

TRAIN, VAL, LR, NORM, TPS = (
    "train/loss",
    "val/loss",
    "train/lr",
    "train/grad_norm",
    "train/tokens_per_s",
)
STEPS = range(1, 8)


def loss(step: int) -> float:
    return round(9 - step / 8, 4)


def rate(step: int) -> float:
    return round(step * 1e-5, 8)


def norm(step: int) -> float:
    return round(3 - step / 4, 3)


def speed(step: int) -> int:
    return 1_240_000 + 997 * step


def val(step: int) -> float:
    return round(9.5 - step / 8, 4)


@dataclass
class Format:
    line: Callable[[int], str]
    loss_by: str
    has: dict[str, Callable[[int], float]]
    step: Callable[[int], int] = lambda at: at
    head: str = ""
    lost: tuple[str, ...] = field(default=())
    """Names that must not be there."""


FORMATS = {
    "torchtitan": Format(
        lambda at: (
            f"[rank0]:[titan] 2026-03-01 14:32:{at:02},897 - root - INFO - step: {at:2}  "
            f"loss: {loss(at):8.5f}  grad_norm: {norm(at):7.4f}  memory: 2.47GiB(3.12%)  "
            f"tps: {speed(at):,}  tflops: 1,096.17  mfu: 9.72%"
        ),
        r"loss:\s+([\d.]+)",
        {TRAIN: loss, NORM: norm, TPS: speed, "mfu": lambda at: 9.72, "tflops": lambda at: 1096.17},
        lost=("rank0", "root"),
    ),
    "torchtitan in colours": Format(
        lambda at: (
            f"[titan] INFO - \x1b[31mstep: {at:2}  \x1b[32mloss: {loss(at):8.5f}  "
            f"\x1b[38;2;180;60;0mgrad_norm: {norm(at):7.4f}  \x1b[34mtps: {speed(at):,}  \x1b[39m"
        ),
        r"loss:\s+([\d.]+)",
        {TRAIN: loss, NORM: norm, TPS: speed},
    ),
    "nanochat": Format(
        lambda at: (
            f"step {at:05d}/21400 (0.01%) | loss: {loss(at):.6f} | lrm: 1.00 | dt: 420.12ms | "
            f"tok/sec: {speed(at):,} | mfu: 45.12 | epoch: 1 | total time: 0.70m"
        ),
        r"loss: ([\d.]+)",
        {TRAIN: loss, TPS: speed, "dt": lambda at: 420.12, "mfu": lambda at: 45.12},
    ),
    "nanoGPT": Format(
        lambda at: f"iter {at}: loss {loss(at):.4f}, time 12.50ms, mfu 3.10%",
        r"loss ([\d.]+)",
        {TRAIN: loss, "mfu": lambda at: 3.1, "log/time": lambda at: 12.5},
        head="tokens per iteration will be: 491,520\nnumber of parameters: 1.2M\n",
    ),
    "modded-nanogpt": Format(
        lambda at: (
            f"step:{at}/20344 train_loss:{loss(at):.4f} train_time:{at}ms step_avg:nanms\n"
            f"step:{at}/20344 val_loss:{val(at):.4f} train_time:{at}ms step_avg:nanms"
        ),
        r"train_loss:([\d.]+)",
        {TRAIN: loss, VAL: val, "train_time": float},
    ),
    "llm.c": Format(
        lambda at: (
            f"step {at:4d}/74 | loss {loss(at):.4f} (+1.20z)| norm {norm(at):.3f} (-0.10z)| "
            f"lr {rate(at):.2e} | 123.45 ms | 45.1% bf16 MFU | {speed(at)} tok/s"
        ),
        r"\| loss ([\d.]+)",
        {TRAIN: loss, NORM: norm, LR: rate, TPS: speed, "mfu": lambda at: 45.1},
    ),
    "llm.c main.log": Format(
        lambda at: (
            f"s:{at} tel:{val(at):.4f}\n"
            f"s:{at} trl:{loss(at):.4f} lr:{rate(at):.6f} norm:{norm(at):.2f}"
        ),
        r"trl:([\d.]+)",
        {TRAIN: loss, VAL: val, LR: lambda at: round(rate(at), 6), NORM: norm},
    ),
    "Megatron": Format(
        lambda at: (
            f" [2024-01-01 10:00:0{at}] iteration {at:8d}/  500000 | consumed samples: {at:8d} | "
            f"elapsed time per iteration (ms): 820.5 | learning rate: {rate(at):.6E} | global batch"
            f" size:    16 | lm loss: {loss(at):.6E} | loss scale: 1.0 | grad norm: {norm(at)} |"
            " number of skipped iterations:   0 | number of nan iterations:   0 |\n"
            f" validation loss at iteration {at} | lm loss value: {val(at):.6E} | lm loss PPL: 7 |"
        ),
        r"lm loss: (\S+)",
        {TRAIN: loss, VAL: val, LR: rate, NORM: norm},
    ),
    "OLMo": Format(
        lambda at: (
            f"2024-01-01 10:00:0{at}.000 host:0  olmo.train:908  INFO    [step={at}/99,epoch=0]\n"
            f"    optim/total_grad_norm={norm(at):.4f}\n"
            f"    train/CrossEntropyLoss={loss(at):.4f}\n"
            f"    throughput/device/tokens_per_second={speed(at):,}"
        ),
        r"CrossEntropyLoss=([\d.]+)",
        {TRAIN: loss, NORM: norm, TPS: speed},
        lost=("host", "olmo.train", "train"),
    ),
    "litgpt": Format(
        lambda at: (
            f"Epoch 1 | iter {at} step {at} | loss train: {loss(at):.3f}, val: {val(at):.3f} | "
            "iter time: 271.44 ms (step)"
        ),
        r"train: ([\d.]+)",
        {TRAIN: lambda at: round(loss(at), 3), VAL: lambda at: round(val(at), 3)},
    ),
    "fairseq": Format(
        lambda at: (
            f"2024-02-27 08:15:1{at} | INFO | train_inner | epoch 001: {at:6d} / 1000 "
            f"loss={loss(at)}, ppl=17632.5, num_updates={at}, lr={rate(at)}, gnorm={norm(at)}"
        ),
        r"loss=([\d.]+)",
        {TRAIN: loss, LR: rate, NORM: norm, "train/ppl": lambda at: 17632.5},
    ),
    "MiniMind": Format(
        lambda at: (
            f"Epoch:[1/2]({at}/900), loss: {loss(at):.4f}, logits_loss: 6.1, aux_loss: 0.0, "
            f"lr: {rate(at):.8f}, epoch_time: 3.0min"
        ),
        r"[^_]loss: ([\d.]+)",
        {TRAIN: loss, LR: rate, "logits_loss": lambda at: 6.1},
    ),
    "MiniMind, as it was": Format(
        lambda at: f"Epoch:[0/2]({at}/300) loss:{loss(at)} lr:{rate(at):.8f} epoch_Time:3.0min:",
        r"loss:([\d.]+)",
        {TRAIN: loss, LR: rate},
    ),
    "Hugging Face with a bar": Format(
        lambda at: (
            f" {at}%|##   | {at}/100 [00:10<00:20,  2.0it/s]\r"
            f"{{'loss': {loss(at)}, 'grad_norm': {norm(at)}, 'learning_rate': {rate(at)}, "
            f"'epoch': {at / 10}}}          "
        ),
        r"'loss': ([\d.]+)",
        {TRAIN: loss, NORM: norm, LR: rate},
        head="Map: 100%|####| 900/900 [00:00<00:00, 9000.00 examples/s]\n",
    ),
    "Hugging Face without": Format(
        lambda at: f"{{'loss': '{loss(at)}', 'learning_rate': '{rate(at)}', 'epoch': '{at / 10}'}}",
        r"'loss': '([\d.]+)",
        {TRAIN: loss, LR: rate},
    ),
    "TRL's DPO": Format(
        lambda at: (
            f"{{'loss': {loss(at)}, 'rewards/accuracies': 0.5, 'rewards/margins': {at / 8}, "
            f"'epoch': {at / 10}}}"
        ),
        r"'loss': ([\d.]+)",
        {TRAIN: loss, "dpo/accuracy": lambda at: 0.5, "dpo/margin": lambda at: at / 8},
    ),
    "Keras": Format(
        lambda at: (
            f"Epoch {at}/7\n3083s - loss: {loss(at)} - acc: 0.5 - val_loss: {val(at)} - val_acc: .5"
        ),
        r" loss: ([\d.]+)",
        {TRAIN: loss, VAL: val, "acc": lambda at: 0.5, "val_acc": lambda at: 0.5},
    ),
    "Keras with a bar": Format(
        lambda at: (
            f"Epoch {at}/7\n" + "".join(
                f"\r{n}/3 [{'=' * n}>..] - ETA: 3s - loss: 7.5" for n in (1, 2)
            ) + f"\r3/3 [==============================] - 3s 2ms/step - loss: {loss(at)} - "
            f"val_loss: {val(at)}"
        ),
        r"step - loss: ([\d.]+)",
        {TRAIN: loss, VAL: val},
        step=lambda at: 3 * at,
    ),
    "an iteration that begins again": Format(
        lambda at: (
            f"2024-01-01 10:00:00 epoch {(at + 2) // 3} - iter {(at - 1) % 3 * 10}/30 - "
            f"loss {loss(at)}"
        ),
        r"loss ([\d.]+)",
        {TRAIN: loss},
        step=lambda at: 10 * (at - 1),
    ),
    "PyTorch's tutorial": Format(
        lambda at: f"Epoch [{(at + 2) // 3}/3], Step [{(at - 1) % 3 + 1}/3], Loss: {loss(at):.4f}",
        r"Loss: ([\d.]+)",
        {TRAIN: loss},
    ),
    "MNIST": Format(
        lambda at: f"Train Epoch: 1 [{at}/60000 ({at}%)]\tLoss: {loss(at):.6f}",
        r"Loss: ([\d.]+)",
        {TRAIN: loss},
    ),
    "torchvision": Format(
        lambda at: (
            f"Epoch: [0]  [ {at}/100]  eta: 0:01:00  lr: {rate(at)}  loss: {loss(at)} (0.6543)  "
            "time: 0.1  data: 0.01  max mem: 123"
        ),
        r"loss: ([\d.]+)",
        {TRAIN: loss, LR: rate},
        lost=("eta",),
    ),
    "timm": Format(
        lambda at: (
            f"Train: 0 [ {at:3}/1251 (  4%)]  Loss: {loss(at)} (6.94)  Time: 0.5s, 100/s  "
            f"LR: {rate(at)}"
        ),
        r"Loss: ([\d.]+)",
        {TRAIN: loss, LR: rate},
    ),
    "MMCV": Format(
        lambda at: (
            f"2021-01-01 10:00:00,000 - mmcls - INFO - Epoch [1][{at}/100]\tlr: {rate(at):.3e}, "
            f"eta: 1:02:03, time: 0.3, data_time: 0.1, memory: 99, loss: {loss(at)}"
        ),
        r" loss: ([\d.]+)",
        {TRAIN: loss, LR: rate, "memory": lambda at: 99},
    ),
    "MMEngine": Format(
        lambda at: (
            f"01/01 10:00:00 - mmengine - INFO - Epoch(train) [1][{at:3}/100]  lr: {rate(at):.4e}  "
            f"eta: 0:01:00  time: 0.1  loss: {loss(at)}"
        ),
        r" loss: ([\d.]+)",
        {TRAIN: loss, LR: rate},
    ),
    "a bar of tqdm": Format(
        lambda at: f"\rEpoch 0: {at}%|# | {at}/100 [00:10<00:10, 2.0it/s, loss={loss(at)}]",
        r"loss=([\d.]+)",
        {TRAIN: loss},
    ),
    "MaxText": Format(
        lambda at: (
            f"completed step: {at}, seconds: 4.1, TFLOP/s/device: 90.2, Tokens/s/device: "
            f"{speed(at)}.5, loss: {loss(at)}"
        ),
        r"loss: ([\d.]+)",
        {TRAIN: loss, TPS: lambda at: speed(at) + 0.5},
    ),
    "line numbers and ranks": Format(
        lambda at: f"[2024-04-02 01:59:41][INFO][trainer:837] - step={at} loss={loss(at)} dt=108.1",
        r" loss=([\d.]+)",
        {TRAIN: loss, "dt": lambda at: 108.1},
        lost=("trainer",),
    ),
    "BigDL": Format(
        lambda at: (
            f"[Epoch 1 {at * 128}/60000][Iteration {at}][Wall Clock 0.3s] Trained 128 records in "
            f"0.2 seconds. Throughput is 300.1 records/second. Loss is {loss(at)}. "
        ),
        r"Loss is ([\d.]+\d)",
        {TRAIN: loss},
    ),
    "NVIDIA's DLL": Format(
        lambda at: (
            f"DLL 2020-05-05 10:00:00.0 - Training Epoch: 0 Training Iteration: {at}  "
            f"average_loss : 7.5  step_loss : {loss(at)}  learning_rate : {rate(at)}"
        ),
        r"step_loss : ([\d.]+)",
        {TRAIN: loss, LR: rate, "average_loss": lambda at: 7.5},
    ),
    "an epoch a line": Format(
        lambda at: f"epoch {at:2d}/40  train={loss(at)}  heldout={val(at)}  lr={rate(at)}",
        r"train=([\d.]+)",
        {TRAIN: loss, VAL: val, LR: rate},
    ),
    "losses on lines of their own": Format(
        lambda at: f"Epoch {at}/9\n\tTrain Loss: {loss(at)} | Train Acc: 50%\n\t Val. Loss: {val(at)}",  # noqa: E501
        r"Train Loss: ([\d.]+)",
        {TRAIN: loss, VAL: val, "Train Acc": lambda at: 50},
    ),
    "own script": Format(
        lambda at: f"step={at * 1000:,} loss={loss(at) * 1000:,} tokens=1.2k",
        r"loss=([\d.,]+)",
        {TRAIN: lambda at: loss(at) * 1000},
        step=lambda at: 1000 * at,
    ),
}  # fmt: skip


def read(path: Path) -> SeriesStore:
    store = SeriesStore()
    open_log(path, store).poll()
    return store


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_read_value_for_value(tmp_path: Path, name: str) -> None:
    form = FORMATS[name]
    text = form.head + "\n".join(map(form.line, STEPS)) + "\n"
    log = tmp_path / "console"
    log.write_text(text, newline="")
    store = read(log)
    for metric, value in form.has.items():
        found = points(store, metric)
        for at in STEPS:
            assert found[form.step(at)] == pytest.approx(value(at), rel=1e-12), (metric, at)
    again = [float(found.replace(",", "")) for found in re.findall(form.loss_by, text)]
    seen = points(store, TRAIN)
    assert [seen[form.step(at)] for at in STEPS] == pytest.approx(again, rel=1e-12)
    assert not {*form.lost} & {*store.names()}
    assert min(store.steps) >= 0


def found_in(*lines: str) -> list[tuple[int | None, dict[str, float]]]:
    rows, bad = ConsoleLog().rows([line.encode() for line in lines])
    assert not bad
    return [(row.step, row.values) for row in rows]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("step 1: Critic Loss: 7.5, Actor LR: 3e-7", {"Critic Loss": 7.5, "Actor LR": 3e-7}),
        ("step 1: train loss 2.1, val loss 2.2", {"train loss": 2.1, "val loss": 2.2}),
        ("step 1 loss 1,234.5 tokens: 1.2M", {"loss": 1234.5, "tokens": 1.2e6}),
        ("step 1 loss -inf", {"loss": -math.inf}),
        ("step 1 at 10:20:30 eta: 0:01:02 on 2024-01-01", {}),
        ("step 1 of model v2.5 in file.py:77, rank: 3", {}),
        ("save every step: 5, loss: 1.0", {}),
        ("loss: 3.5", {}),
        ("loading the tokenizer: done", {}),
    ],
)
def test_names_are_whole_and_numbers_too(line: str, values: dict[str, float]) -> None:
    rows = found_in(line)
    assert (rows[0][1] if rows else {}) == values


def test_a_validation_of_the_same_names_is_apart(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "step: 1  loss: 8.0\nstep: 2  loss: 7.5\nvalidate step: 1  loss: 8.5\n"
        "eval step 2: loss 9.5\nstep: 3  loss: 7.0\n"
    )
    store = read(log)
    assert points(store, TRAIN) == {1: 8.0, 2: 7.5, 3: 7.0}
    assert points(store, VAL) == {1: 8.5, 2: 9.5}


def test_the_mean_of_an_evaluation_is_no_point_of_the_curve(tmp_path: Path) -> None:
    """nanoGPT prints `step N: train loss …`, a mean over many batches, between its iterations."""
    log = tmp_path / "log"
    log.write_text(
        "step 0: train loss 9.5, val loss 9.6\niter 0: loss 9.0\niter 10: loss 8.0\n"
        "step 20: train loss 7.5, val loss 7.6\niter 20: loss 7.0\n"
    )
    store = read(log)
    assert points(store, TRAIN) == {0: 9.0, 10: 8.0, 20: 7.0}
    assert points(store, "train loss") == {0: 9.5, 20: 7.5}
    assert points(store, VAL) == {0: 9.6, 20: 7.6}


def test_the_summary_of_hugging_face_is_no_row(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "{'loss': 2.5, 'epoch': 0.1}\n{'loss': 0.0, 'grad_norm': nan, 'epoch': 0.2}\n"
        "{'eval_loss': 2.25, 'epoch': 0.2}\n{'train_runtime': 4.5, 'train_loss': 9.0, 'epoch': 1}\n"
    )
    store = read(log)
    assert points(store, TRAIN) == {1: 2.5, 2: 0.0} and points(store, VAL) == {2: 2.25}
    assert math.isnan(points(store, NORM)[2]) and store.span("epoch") == (0.1, 0.2)


def test_a_run_of_carriage_returns_is_read_without_an_end_of_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    pictures = [f"step {at:05d} | loss: {9 - at / 1000:.6f} | tok/sec: 1,057,760   "
                for at in range(7000)]  # fmt: skip
    log.write_text("params: 12\n\r" + "\r".join(pictures) + "\n", newline="")
    store = read(log)
    assert points(store, TRAIN) == {at: round(9 - at / 1000, 6) for at in range(7000)}


PRINTED = st.sampled_from(
    [
        "iter {step}: loss {loss}, time 12.50ms, mfu 3.10%",
        "step {step:06d} | loss: {loss} | lr: {rate:.2e} | tok/sec: {step:,} | norm: -{loss}",
        "step {step}: val loss {rate:.3e}",
        "nothing at all",
    ]
)


ROW = st.tuples(PRINTED, st.integers(0, 3), st.floats(0, 99), st.floats(0, 1e-3))


@given(st.lists(ROW, min_size=1))
def test_columns_are_what_the_lines_are(rows: list[tuple[str, int, float, float]]) -> None:
    step, lines = 0, []
    for form, more, value, small in rows * 9:
        step += more
        lines.append(form.format(step=step, loss=round(value, 4), rate=small).encode())
    columns = ConsoleLog().columns(lines)
    if columns is None:
        return
    expected: dict[str, dict[int, float]] = {}
    for row in ConsoleLog().rows(lines)[0]:
        assert row.step is not None
        for name, number in row.values.items():
            expected.setdefault(name, {})[row.step] = number
    found = {
        name: dict(zip(columns.steps[at].tolist(), values.tolist(), strict=True))
        for name, (at, values) in columns.values.items()
    }
    assert found == expected


def test_long_logs_take_the_way_of_columns() -> None:
    lines = [f"step {at}: loss {9 - at / 1000:.4f}".encode() for at in range(1000)]
    columns = ConsoleLog().columns(lines)
    assert columns is not None and len(columns.steps) == 1000


@given(st.binary(max_size=200))
def test_no_bytes_bring_the_reader_down(line: bytes) -> None:
    console = ConsoleLog()
    for given_line in (b"step 1: loss 2", line, line[::-1], b"Epoch " + line, b"{'a': " + line):
        console.rows([given_line])


@given(st.integers(0, 2**50), st.floats(-1e300, 1e300))
def test_pairs_are_read_exactly(step: int, value: float) -> None:
    for line in (f"step: {step}, loss: {value!r}", f"[info] loss={value!r} step={step}"):
        assert found_in(line) == [(step, {"loss": value})]
