"""How soon somebody else's logs are read, against the tools that wrote them.

A million TensorBoard scalars in memory, against tensorboard's EventAccumulator. An offline run of
W&B's on the screen, against W&B's own terminal viewer LEET: both open the same file, which wandb
wrote, in the same terminal, and both paint while they read, so LEET's first curve is that of the
first few hundred steps; what is held to the limit is the first plot of the whole run. wandb is
looked for in the environment variable LMM_WANDB and on PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import text_logs
from benchmarks.measure import QUICK, medians, report, report_count
from benchmarks.terminal import PROGRAM, TerminalCommand, first_curve
from lmm_tui.metrics.readers.metric_names import MetricNamer
from lmm_tui.metrics.readers.wandb_log import WandbFollower
from lmm_tui.metrics.series.series import SeriesStore

TITLE = "foreign: TensorBoard, W&B and console logs, against EventAccumulator and wandb leet"

LIMIT_SECONDS, LIMIT_MEMORY = 1 / 3, 0.5
LIMIT_LEET = 0.2
STEPS = 10_000 if QUICK else 100_000

_OURS = """
import sys, time
from pathlib import Path
begun = time.perf_counter()
from lmm_tui.metrics.readers.event_files import find_event_files, read_event_files
store = read_event_files(find_event_files(Path(sys.argv[1])))
points = sum(len(store.get(name)) for name in store.names())
"""
_THEIRS = """
import sys, time
begun = time.perf_counter()
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
log = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
log.Reload()
points = sum(len(log.Scalars(tag)) for tag in log.Tags()["scalars"])
"""
_PRINT = """
import resource
print(points, time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
_WRITE_WANDB = """
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


def run() -> None:
    with tempfile.TemporaryDirectory() as place:
        _tensorboard(Path(place))
    with tempfile.TemporaryDirectory() as place:
        text_logs.run(Path(place))
    wandb = os.environ.get("LMM_WANDB") or shutil.which("wandb")
    if wandb is None:
        print("no wandb, so no comparison with LEET: "
              "`python -m venv W; W/bin/pip install wandb`, LMM_WANDB=W/bin/wandb")  # fmt: skip
        return
    with tempfile.TemporaryDirectory() as place:
        _leet(wandb, Path(place))


def _tensorboard(folder: Path) -> None:
    _write_scalars(folder, tags=10)
    found: dict[str, tuple[int, float, float]] = {}

    def load(name: str, program: str) -> float:
        found[name] = _load(program, folder)
        return found[name][1]

    calls: dict[str, Callable[[], float]] = {
        "ours": partial(load, "ours", _OURS),
        "theirs": partial(load, "theirs", _THEIRS),
    }
    ours, theirs = medians(calls, 1 if QUICK else 3, warm_up=False).values()
    (points, _, memory), (their_points, _, their_memory) = found["ours"], found["theirs"]
    report_count("TensorBoard scalars", points, their_points)
    of = "EventAccumulator"
    report("all in memory", ours, theirs, of, at_most=LIMIT_SECONDS)
    report("peak memory", memory, their_memory, of, unit="MB", at_most=LIMIT_MEMORY)


def _write_scalars(folder: Path, tags: int) -> None:
    """As `torch.utils.tensorboard` writes them: an event a scalar."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    names = [f"group/metric_{tag}" for tag in range(tags)]
    with (folder / "events.out.tfevents.1.host.1.0").open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=1e9, file_version="brain.Event:2").SerializeToString())
        for step in range(STEPS):
            for tag, name in enumerate(names):
                value = Summary.Value(tag=name, simple_value=step / 7 + tag)
                event = Event(wall_time=1e9 + step, step=step, summary=Summary(value=[value]))
                writer.write(event.SerializeToString())


def _load(program: str, folder: Path) -> tuple[int, float, float]:
    """Points, seconds (imports included) and peak MB."""
    command = [sys.executable, "-c", program + _PRINT, str(folder)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(answer[0]), float(answer[1]), int(answer[2]) / 1024


def _leet(wandb: str, folder: Path) -> None:
    interpreter = Path(wandb).read_text(encoding="utf-8").splitlines()[0].removeprefix("#!")
    subprocess.run([interpreter, "-c", _WRITE_WANDB, str(STEPS)], cwd=folder, check=True)
    log = next(folder.glob("wandb/offline-run-*/run-*.wandb"))
    ours, theirs = [*PROGRAM, "monitor", str(log)], [wandb, "leet", str(log)]
    last_step = f"{STEPS - 1:,}".encode()
    taken = medians(
        {
            "ours": partial(_painted, ours, folder, last_step),
            "theirs": partial(_painted, theirs, folder, b"Finished"),
            "our first curve": partial(first_curve, ours, folder, XDG_CONFIG_HOME=str(folder)),
            "their first curve": partial(first_curve, theirs, folder, XDG_CONFIG_HOME=str(folder)),
        },
        3,
        warm_up=False,
    )
    print(f"first curve, of some steps: ours {taken['our first curve']:.2f} s, "
          f"leet {taken['their first curve']:.2f} s")  # fmt: skip
    report("W&B run wholly drawn", taken["ours"], taken["theirs"], "leet", at_most=LIMIT_LEET)
    report_count("values other than by wandb's reader", _differences(wandb, log), 0)


def _painted(command: list[str], folder: Path, text: bytes) -> float:
    """Seconds until `text` is on the screen; settings are new."""
    with TerminalCommand(command, folder, XDG_CONFIG_HOME=str(folder)) as screen:
        return screen.wait_for(lambda: text in screen.seen)


def _differences(wandb: str, log: Path) -> int:
    """How many of the values that wandb's own reader finds in a file we find otherwise."""
    store = SeriesStore()
    WandbFollower(log, store).poll()
    ours = {}
    for name in store.names():
        series = store.get(name)
        assert series is not None
        ours[name] = dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))
    inspected = subprocess.run(
        [wandb, "leet", "inspect", "--json", str(log)], check=True, capture_output=True
    )
    found = wrong = 0
    namer = MetricNamer()
    for line in inspected.stdout.splitlines():
        record = json.loads(line)
        if record["type"] == "history":
            row = record["history"]["item"]
            step = row.pop("_step")
            del row["_timestamp"]
            found += len(row)
            wrong += sum(ours[namer.name(key)].get(step) != row[key] for key in row)
    assert found
    return wrong


if __name__ == "__main__":
    run()
