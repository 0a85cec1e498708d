"""How soon somebody else's TensorBoard log is wholly in memory, and how soon new points are."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TITLE = "foreign: a million TensorBoard scalars, against tensorboard's EventAccumulator"

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
_SAY = """
import resource
print(points, time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_scalars(folder: Path, steps: int, tags: int) -> None:
    """As `torch.utils.tensorboard` writes them: an event a scalar."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    names = [f"group/metric_{tag}" for tag in range(tags)]
    with (folder / "events.out.tfevents.1.host.1.0").open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=1e9, file_version="brain.Event:2").SerializeToString())
        for step in range(steps):
            for tag, name in enumerate(names):
                value = Summary.Value(tag=name, simple_value=step / 7 + tag)
                event = Event(wall_time=1e9 + step, step=step, summary=Summary(value=[value]))
                writer.write(event.SerializeToString())


def load(program: str, folder: Path) -> tuple[int, float, float]:
    """Points, seconds (imports included) and peak MB."""
    command = [sys.executable, "-c", program + _SAY, str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(said[0]), float(said[1]), int(said[2]) / 1024


def lag() -> float:
    """Median seconds from a flushed point to its being in a session that polls at 4 Hz."""
    from torch.utils.tensorboard import SummaryWriter

    from lmm_tui.runs.session import RunSession

    with tempfile.TemporaryDirectory() as scratch:
        writer = SummaryWriter(scratch)
        writer.add_scalar("loss", 9.0, 0)
        writer.flush()
        session = RunSession(Path(scratch))
        session.poll()
        written: dict[int, float] = {}

        def write() -> None:
            for step in range(1, 21):
                writer.add_scalar("loss", 9.0 / step, step)
                writer.flush()
                written[step] = time.perf_counter()
                time.sleep(0.13)

        thread = threading.Thread(target=write)
        thread.start()
        seen: dict[int, float] = {}
        while len(seen) < 20:
            time.sleep(0.25)
            session.poll()
            for step in range(1, (session.series.last_step or 0) + 1):
                seen.setdefault(step, time.perf_counter())
        thread.join()
        writer.close()
    return max(seen[step] - written[step] for step in written)


def run() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_scalars(folder, 100_000, 10)
        runs = [load(_OURS, folder) for _ in range(3)]
        points, _, memory = runs[0]
        seconds = statistics.median(taken for _, taken, _ in runs)
        their_points, their_seconds, their_memory = load(_THEIRS, folder)
        print(f"ours              {points:,} points  {seconds:6.2f} s  {memory:4.0f} MB")
        print(f"EventAccumulator  {their_points:,} points  {their_seconds:6.2f} s  "
              f"{their_memory:4.0f} MB")  # fmt: skip
        faster, share = their_seconds / seconds, memory / their_memory
        good = points == their_points and faster >= 3 and share <= 0.5
        print(f"limit 3x faster, half the memory  measured {faster:.1f}x, {share:.2f}  "
              f"{'PASS' if good else 'FAIL'}")  # fmt: skip
    longest = lag()
    print(f"limit 0.5 s behind a writer  measured {longest:.2f} s at most  "
          f"{'PASS' if longest <= 0.5 else 'FAIL'}")  # fmt: skip


if __name__ == "__main__":
    run()
