"""Lines of programs that print otherwise than most, and what is on them, counted by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lmm_tui.metrics.readers.foreign import open_log
from lmm_tui.metrics.series.series import SeriesStore

Points = dict[str, dict[int, float]]

SHAPES: dict[str, tuple[str, Points]] = {
    "build-nanogpt's log.txt": (
        "0 val 10.95\n0 hella 0.25\n0 train 10.90\n250 val 5.9\n250 train 5.8\n",
        {
            "train/loss": {0: 10.9, 250: 5.8},
            "val/loss": {0: 10.95, 250: 5.9},
            "hella": {0: 0.25},
        },
    ),
    "ms-swift": (
        "Train: 5%|##   | 5/100 [00:10<01:00,  2.0s/it]\r{'loss': 1.5, 'token_acc': 0.5, "
        "'epoch': 0.01, 'global_step/max_steps': '5/100', 'elapsed_time': '10s'}\n",
        {"train/loss": {5: 1.5}, "token_acc": {5: 0.5}},
    ),
    "DeepSpeed": (
        "[2024-01-01 10:00:01,000] [INFO] [logging.py:96:log_dist] [Rank 0] step=10, skipped=0, "
        "lr=[1e-05], mom=[(0.9, 0.95)]\nsteps: 10 loss: 9.125 iter time (s): 0.5\n",
        {"train/loss": {10: 9.125}, "train/lr": {10: 1e-5}, "skipped": {10: 0}},
    ),
    "Composer": (
        "[batch=1/40]:\n\t Train loss/train/total: 7.5\n[batch=2/40]:\n"
        "\t Train loss/train/total: 7.25\n",
        {"train/loss": {1: 7.5, 2: 7.25}},
    ),
    "OpenPCDet": (
        "2023-01-01 10:00:01,000   INFO  Train:    1/80 (  1%) [  10/928 (  1%)]  Loss: 1.25 (1.30)"
        "  LR: 3.000e-04  Time cost: 00:10/02:00 [00:10/3:00:00]  Acc_iter 10\n",
        {"train/loss": {10: 1.25}, "train/lr": {10: 3e-4}},
    ),
    "fairseq's means over an epoch": (
        "2024-02-27 08:15:11 | INFO | train_inner | epoch 001: 9 / 10 loss=9.5, num_updates=9\n"
        "2024-02-27 08:15:12 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 8.5 | "
        "num_updates 10\n2024-02-27 08:15:13 | INFO | train | epoch 001 | loss 9.75 | "
        "num_updates 10\n",
        {"train/loss": {9: 9.5}, "val/loss": {10: 8.5}, "epoch/loss": {10: 9.75}},
    ),
    "fairseq's JSON": (
        '2024-02-27 08:15:11 | INFO | train_inner | {"epoch": 1, "update": 0.5, "loss": "9.5", '
        '"num_updates": "100", "lr": "1e-05", "gnorm": "1.25"}\n',
        {"train/loss": {100: 9.5}, "train/lr": {100: 1e-5}, "train/grad_norm": {100: 1.25}},
    ),
    "Ultralytics": (
        "      Epoch    GPU_mem   box_loss   cls_loss  Instances       Size\n"
        "      1/100      2.1G      1.234      2.345      16     640: 100%|##| 8/8 [00:03<0]\n"
        "                 Class     Images      Box(P          R      mAP50\n"
        "                   all        128       0.64      0.537      0.605\n",
        {"box_loss": {1: 1.234}, "cls_loss": {1: 2.345}, "GPU_mem": {1: 2.1}},
    ),
    "NeMo": (
        "Epoch 0: :  1%|   | 10/1000 [00:10<10:00, v_num=0, reduced_train_loss=9.125, "
        "global_step=10.0, consumed_samples=20.0]\n",
        {"train/loss": {10: 9.125}, "consumed_samples": {10: 20}},
    ),
    "a process of Ray": (
        "(TaskRunner pid=1234) step:1 - actor/pg_loss:0.25 - critic/score/mean:0.5\n",
        {"actor/pg_loss": {1: 0.25}, "critic/score/mean": {1: 0.5}},
    ),
    "a plural": ("Steps: 100, Loss: 1.25, Accuracy: 95.5%\n", {"train/loss": {100: 1.25}}),
    "a sentence before the name": (
        "Batch(100/1879) done. Loss: 1.25\n",
        {"train/loss": {100: 1.25}},
    ),
    "ImageNet": (
        "Epoch: [0][  10/5005]\tTime  0.5 ( 0.6)\tLoss 7.0123e+00 (7.1)\tAcc@1   0.25 (  0.10)\n",
        {"train/loss": {10: 7.0123}, "Acc@1": {10: 0.25}},
    ),
    "a language model of PyTorch's examples": (
        "| epoch   1 |   200/ 2983 batches | lr 20.00 | ms/batch 10.21 | loss  7.62 | ppl  2033\n"
        "| end of epoch   1 | time: 20.1s | valid loss  5.81 | valid ppl   330.25\n",
        {"train/loss": {1: 7.62}, "val/loss": {1: 5.81}, "val/ppl": {1: 330.25}},
    ),
    "a thousands separator that is torn": (
        "step 1 loss 2.5 tok/sec: 119,3\n",
        {"train/loss": {1: 2.5}},
    ),
    "all is no number": (
        "step   10/74 | loss nan (+nanz)| norm inf (+nanz)| lr 1.00e-04 | 4000 tok/s\n",
        {"train/lr": {10: 1e-4}, "train/tokens_per_s": {10: 4000}},
    ),
}


def read(path: Path, text: str) -> SeriesStore:
    path.write_text(text)
    os.utime(path, (1e9, 1e9))
    store = SeriesStore()
    open_log(path, store).poll()
    return store


@pytest.mark.parametrize("name", SHAPES)
def test_a_line_says_what_it_says(name: str, tmp_path: Path) -> None:
    text, wanted = SHAPES[name]
    store = read(tmp_path / "train.log", text)
    for metric, points in wanted.items():
        series = store.get(metric)
        assert series is not None, store.names()
        found = dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))
        assert found == points
    assert not any("pid" in metric or "rank" in metric.lower() for metric in store.names())


def test_a_prefix_of_a_scheduler_is_no_metric(tmp_path: Path) -> None:
    prefixes = ("trainer-1  | ", "2024-01-01T10:00:00.123456789Z ", "[titan] 2024 - root - INFO - ",
                "2024-01-01 10:00:00.000 | INFO     | __main__:train:123 - ", "0: ")  # fmt: skip
    for prefix in prefixes:
        store = read(tmp_path / "a.log", "".join(f"{prefix}step {at} loss 2.5\n" for at in (1, 2)))
        assert store.names() == ["train/loss"] and store.last_step == 2, prefix
