"""How soon an offline run of W&B's is on the screen, against W&B's own terminal viewer LEET.

Both open the same file, which wandb wrote, in the same terminal, and both paint while they read:
LEET's first curve is that of the first few hundred steps. What is held to the limit is the first
plot of the run, all of it. wandb is looked for in the environment variable LMM_WANDB and on PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.terminal import Screen, has_braille
from lmm_tui.metrics.readers.metric_names import MetricNamer
from lmm_tui.metrics.readers.wandb_log import WandbFollower
from lmm_tui.metrics.series.series import SeriesStore

TITLE = "leet: an offline run of W&B's on the screen, against wandb leet"

STEPS = 100_000
LIMIT = 5.0
ROUNDS = 3
_MONITOR = [sys.executable, "-c", "from lmm_tui.cli.main import main; main()", "monitor"]
_WRITE = """
import math, sys
import wandb
settings = wandb.Settings(console="off", x_disable_stats=True, silent=True)
with wandb.init(project="benchmark", mode="offline", settings=settings) as run:
    for step in range(int(sys.argv[1])):
        loss = 2.5 + 4.4 * math.exp(-step / 300) + 0.1 * math.sin(step)
        row = {"loss": loss, "loss_ema": loss, "ppl": math.exp(loss), "lr": 1e-3}
        row |= {"grad_norm": 1 + 0.1 * math.cos(step), "tokens_per_s": 9e4 + step % 7}
        run.log(row | {f"grad/layers.{layer}": 0.1 + layer + step % 5 for layer in range(4)})
"""


def write_run(wandb: str, folder: Path) -> Path:
    """A run of 100k steps of ten scalars by wandb itself."""
    interpreter = Path(wandb).read_text(encoding="utf-8").splitlines()[0].removeprefix("#!")
    subprocess.run([interpreter, "-c", _WRITE, str(STEPS)], cwd=folder, check=True)
    return next(folder.glob("wandb/offline-run-*/run-*.wandb"))


def on_screen(command: list[str], folder: Path, whole: bytes) -> tuple[float, float]:
    """Seconds to the first curve, and to what is painted with the last step; settings are new."""
    screen = Screen(command, folder, XDG_CONFIG_HOME=str(folder))
    first = screen.wait_for(has_braille)
    return first, screen.seconds_until(lambda seen: whole in seen)


def differences(wandb: str, log: Path) -> tuple[int, int]:
    """Values that wandb's own reader finds in a file, and how many of them we find otherwise."""
    store = SeriesStore()
    WandbFollower(log, store).poll()
    ours = {}
    for name in store.names():
        series = store.get(name)
        assert series is not None
        ours[name] = dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))
    said = subprocess.run(
        [wandb, "leet", "inspect", "--json", str(log)], check=True, capture_output=True
    )
    found = wrong = 0
    namer = MetricNamer()
    for line in said.stdout.splitlines():
        record = json.loads(line)
        if record["type"] == "history":
            row = record["history"]["item"]
            step = row.pop("_step")
            del row["_timestamp"]
            found += len(row)
            wrong += sum(ours[namer.name(key)].get(step) != row[key] for key in row)
    return found, wrong


def run() -> None:
    wandb = os.environ.get("LMM_WANDB") or shutil.which("wandb")
    if wandb is None:
        print(
            "skipped: no wandb; `python -m venv W; W/bin/pip install wandb`, LMM_WANDB=W/bin/wandb"
        )
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        log = write_run(wandb, folder)
        last_step = f"{STEPS - 1:,}".encode()
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(on_screen([*_MONITOR, str(log)], folder, last_step))
            theirs.append(on_screen([wandb, "leet", str(log)], folder, b"Finished"))
        (our_first, our_plot), (their_first, their_plot) = (
            [statistics.median(run[at] for run in runs) for at in (0, 1)] for runs in (ours, theirs)
        )
        print(f"first curve, of some steps  ours {our_first:.2f} s  leet {their_first:.2f} s")
        ratio = their_plot / our_plot
        print(f"first plot of the run  ours {our_plot:.2f} s  leet {their_plot:.2f} s  "
              f"limit {LIMIT:.0f}x  measured {ratio:.1f}x  "
              f"{'PASS' if ratio >= LIMIT else 'FAIL'}")  # fmt: skip
        found, wrong = differences(wandb, log)
        print(f"limit 0 values other than by wandb's reader  measured {wrong} of {found:,}  "
              f"{'FAIL' if wrong or not found else 'PASS'}")  # fmt: skip


if __name__ == "__main__":
    run()
