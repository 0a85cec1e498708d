"""The data of a plot: the series of a run, and what its run.json says about it.

Read from a run directory, a folder of TensorBoard events or a metrics.jsonl.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import read_bytes
from lmm_tui.metrics.readers.event_files import find_event_files, read_event_files
from lmm_tui.metrics.readers.json_lines import MetricsFollower
from lmm_tui.metrics.series.series import MOST_METRICS, SeriesStore

_log = logging.getLogger(__name__)

_METRICS_FILE = "metrics.jsonl"
_TENSORBOARD = "tensorboard"


class NothingToDraw(LmmError):
    """A file or folder without any series."""


@dataclass(frozen=True)
class PlotSource:
    """All that a page shows of a run."""

    store: SeriesStore
    title: str
    about: str = ""
    """Stage, model and device, in a few words."""
    baselines: Mapping[str, float] = field(default_factory=dict)
    """Loss levels to draw as lines, in nats."""
    resumed: Sequence[int] = ()
    """Steps from which the run was resumed."""


def of_run(run: Path) -> PlotSource:
    """From a run directory; raises NothingToDraw if it has no metrics yet."""
    return _described(run, _read_metrics(run / _METRICS_FILE))


def of_json_log(path: Path) -> PlotSource:
    """From a metrics.jsonl in any folder; raises NothingToDraw if it has no metrics."""
    # The user may have named a link; in a run none is followed.
    return PlotSource(_read_metrics(path.resolve()), str(path))


def of_log_dir(folder: Path) -> PlotSource:
    """From a run directory or a folder of TensorBoard event files; raises NothingToDraw."""
    if not folder.is_dir():
        raise NothingToDraw(
            "{folder}: no such folder; give a run or TensorBoard directory", folder=folder
        )
    if (folder / _METRICS_FILE).is_file():
        return of_run(folder)
    files = find_event_files(folder) or find_event_files(folder / _TENSORBOARD)
    if not files:
        deeper = next((found.parent for found in folder.rglob("*tfevents*")), None)
        raise NothingToDraw(
            "{folder}: neither metrics.jsonl nor TensorBoard events; {deeper} has some"
            if deeper
            else "{folder}: neither metrics.jsonl nor TensorBoard events; give a run or "
            "TensorBoard directory",
            folder=folder,
            deeper=deeper,
        )
    store = read_event_files(files)
    if not store.names():
        raise NothingToDraw("{folder}: the TensorBoard events hold no scalars", folder=folder)
    return _described(folder.parent if folder.name == _TENSORBOARD else folder, store)


def _read_metrics(path: Path) -> SeriesStore:
    if not path.is_file():
        raise NothingToDraw("{path}: no such file; give a run that has logged something", path=path)
    store = SeriesStore()
    follower = MetricsFollower(path, store)
    follower.poll()
    broken = follower.bad_lines
    if not store.names():
        raise NothingToDraw(
            "{path}: no metrics in it; {broken} lines are not readable"
            if broken
            else "{path}: no metrics in it; wait for the first logged step",
            path=path,
            broken=broken,
        )
    if store.full:
        _log.warning("%s: metrics beyond the first %d are left out", path, MOST_METRICS)
    if broken:
        _log.warning("%s: %d lines are not readable and were left out", path, broken)
    return store


def _described(folder: Path, store: SeriesStore) -> PlotSource:
    """A store with the title, model and baselines from run.json, if there is one."""
    try:
        info = json.loads(read_bytes(folder / "run.json", folder))
    except (OSError, ValueError, RecursionError):
        info = {}
    info = info if isinstance(info, dict) else {}
    about = [info.get(key) for key in ("stage", "model", "device", "precision")]
    return PlotSource(
        store,
        title=info.get("name") or folder.resolve().name,
        about=" ".join(str(part) for part in about if part),
        baselines=info.get("references") or {},
        resumed=info.get("resumed_steps") or (),
    )


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        (Path(name) / _METRICS_FILE).write_text('{"step": 1, "train/loss": 7.0}\n')
        print(of_log_dir(Path(name)))
    print("=== 自测通过 ===")
