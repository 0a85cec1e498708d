"""What a picture is about: the series of a run, and what the run says of itself.

Comes from a run directory, a folder of TensorBoard events or a metrics.jsonl. Knows no picture.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lmm_tui.errors import LmmError
from lmm_tui.metrics.readers.event_files import find_event_files, read_event_files
from lmm_tui.metrics.readers.json_lines import MetricsFollower
from lmm_tui.metrics.series.series import SeriesStore

_log = logging.getLogger(__name__)

_METRICS_FILE = "metrics.jsonl"
_TENSORBOARD = "tensorboard"


class NothingToDraw(LmmError):
    """A file or folder that holds no series."""


@dataclass(frozen=True)
class PlotSource:
    """A run as a page shows it."""

    store: SeriesStore
    title: str
    about: str = ""
    """Stage, model and device, in a few words."""
    references: Mapping[str, float] = field(default_factory=dict)
    """Loss levels to draw as lines, nats."""
    resumed: Sequence[int] = ()
    """Steps from which the run was resumed."""


def of_run(run: Path) -> PlotSource:
    """A run directory; NothingToDraw where it has no metrics yet."""
    return _described(run, _read_metrics(run / _METRICS_FILE))


def of_json_log(path: Path) -> PlotSource:
    """A metrics.jsonl, wherever it lies."""
    return PlotSource(_read_metrics(path), str(path))


def of_log_dir(folder: Path) -> PlotSource:
    """A run directory, or a folder of TensorBoard event files."""
    if not folder.is_dir():
        raise NothingToDraw(f"{folder}: no such folder; give a run or TensorBoard directory")
    if (folder / _METRICS_FILE).is_file():
        return of_run(folder)
    files = find_event_files(folder) or find_event_files(folder / _TENSORBOARD)
    if not files:
        deeper = next((found.parent for found in folder.rglob("*tfevents*")), None)
        advice = f"{deeper} has some" if deeper else "give a run or TensorBoard directory"
        raise NothingToDraw(f"{folder}: neither metrics.jsonl nor TensorBoard events; {advice}")
    store = read_event_files(files)
    if not store.names():
        raise NothingToDraw(f"{folder}: the TensorBoard events hold no scalars")
    return _described(folder.parent if folder.name == _TENSORBOARD else folder, store)


def _read_metrics(path: Path) -> SeriesStore:
    if not path.is_file():
        raise NothingToDraw(f"{path}: no such file; give a run that has logged something")
    store = SeriesStore()
    follower = MetricsFollower(path, store)
    follower.poll()
    broken = follower.bad_lines
    if not store.names():
        why = f"{broken} lines are not readable" if broken else "wait for the first logged step"
        raise NothingToDraw(f"{path}: no metrics in it; {why}")
    if broken:
        _log.warning("%s: %d lines are not readable and were left out", path, broken)
    return store


def _described(folder: Path, store: SeriesStore) -> PlotSource:
    """With what run.json says, where there is one."""
    try:
        info = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        info = {}
    about = [info.get(key) for key in ("stage", "model", "device", "precision")]
    return PlotSource(
        store,
        title=info.get("name") or folder.resolve().name,
        about=" ".join(str(part) for part in about if part),
        references=info.get("references") or {},
        resumed=info.get("resumed_steps") or (),
    )


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "run.json").write_text('{"name": "demo", "references": {"ln V": 6.9}}')
        try:
            of_log_dir(root)
        except NothingToDraw as error:
            print(error)
        (root / _METRICS_FILE).write_text('{"step": 1, "train/loss": 7.0}\n')
        found = of_log_dir(root)
        print(found.title, found.store.names(), found.references)
        assert found.title == "demo"
    print("=== 自测通过 ===")
