"""What a list says of runs beyond their records: settings, best validation loss, a small curve.

Settings are read at once, and again only when they change. Best and curve need all metrics of a
run: they are read a little at a time, and those of runs that have ended are cached on disk.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import read_text, replace_text
from lmm_tui.metrics.names import TRAIN_LOSS, VAL_LOSS
from lmm_tui.runs.compared_settings import differing, settings_of
from lmm_tui.runs.fleets import RunDetail, fleet_of
from lmm_tui.runs.run_list import BROKEN, ListedRun
from lmm_tui.user_folders import user_cache

if TYPE_CHECKING:
    from lmm_tui.engine.run.reader import Reader

CURVE_POINTS = 12
_LEFT_OUT = 0.1
"""Of a run's beginning, whose fall would flatten all the rest."""
_FORMAT = 1
_MOST_CACHED = 20_000
_MOST_OPEN = 64
"""Live runs whose metrics are kept, to read only what is new."""
_READ_AT_MOST_S = 2.0
"""Of one run; of a log that takes longer nothing is shown."""
_LIMIT = 64 << 20


@dataclass(frozen=True)
class RunDigest:
    """`best` is the lowest validation loss; `curve` the main metric after the beginning."""

    best: float | None = None
    best_step: int | None = None
    curve: tuple[float | None, ...] = ()


NO_DIGEST = RunDigest()


class RunDetails:
    """The details of the runs of one folder. Not thread-safe."""

    def __init__(self, folder: Path) -> None:
        digest = hashlib.blake2b(str(folder.resolve()).encode("utf-8", "replace"), digest_size=8)
        self._cache = user_cache() / "runs" / f"{digest.hexdigest()}.json"
        self._settings: dict[Path, tuple[str, dict[str, Any]]] = {}
        self._changed: dict[Path, dict[str, Any]] = {}
        self._digests: dict[str, tuple[str, RunDigest]] | None = None
        self._open: dict[str, Reader] = {}
        self._unsaved = False
        self._fleet = fleet_of(folder)

    def settings(self, run: ListedRun) -> dict[str, Any]:
        """By dotted key, after the last change; none of a log of another program."""
        if (far := self._far(run)) is not None:
            return far.now
        known = self._settings.get(run.summary.path)
        return known[1] if known is not None else self._read_settings(run)

    def changed(self, run: ListedRun) -> dict[str, Any]:
        """What the settings that were changed while the run trained were when it began."""
        if self._fleet is not None:
            far = self._fleet.detail(run.summary.path)
            return (
                {key: far.began.get(key) for key in differing([far.began, far.now])} if far else {}
            )
        self.settings(run)
        return self._changed.get(run.summary.path, {})

    def refresh(self, runs: Iterable[ListedRun]) -> None:
        """Read the settings of runs whose status is another one than when they were read."""
        for run in runs if self._fleet is None else ():
            known = self._settings.get(run.summary.path)
            if known is None or known[0] != _version(run):
                self._read_settings(run)

    def _read_settings(self, run: ListedRun) -> dict[str, Any]:
        none = run.is_log or run.summary.state == BROKEN
        began, now = ({}, {}) if none else settings_of(RunDir(run.summary.path))
        self._settings[run.summary.path] = _version(run), now
        if changed := differing([began, now]):
            self._changed[run.summary.path] = {key: began.get(key) for key in changed}
        return now

    def digest(self, run: ListedRun) -> RunDigest:
        """As far as `read_on` has read it, here or on the machine of the run."""
        if (far := self._far(run)) is not None:
            return RunDigest(far.best, far.best_step, tuple(far.curve))
        known = (self._digests or {}).get(str(run.summary.path))
        return known[1] if known else NO_DIGEST

    def _far(self, run: ListedRun) -> RunDetail | None:
        """What another machine said of its run; None for the runs of this one."""
        if self._fleet is None:
            return None
        return self._fleet.detail(run.summary.path) or RunDetail(run.name, {}, {}, None, None, [])

    def read_on(self, runs: Iterable[ListedRun], budget_s: float = math.inf) -> bool:
        """Read what is new for about `budget_s`; returns whether something is left to read."""
        began = time.monotonic()
        for run in runs if self._fleet is None else ():
            if run.summary.state == BROKEN:
                continue
            key, version = str(run.summary.path), _version(run)
            known = self._known.get(key)
            if known is not None and known[0] == version:
                continue
            if time.monotonic() - began > budget_s:
                return True
            self._known[key] = version, self._read(run)
            self._unsaved = self._unsaved or not run.live
        self._save()
        return False

    def _read(self, run: ListedRun) -> RunDigest:
        from lmm_tui.engine.run.reader import Reader

        key = str(run.summary.path)
        try:
            session = self._open.get(key) or Reader(run.summary.path)
            session.poll(_READ_AT_MOST_S)
        except LmmError:
            self._open.pop(key, None)
            return NO_DIGEST
        if run.live and (key in self._open or len(self._open) < _MOST_OPEN):
            self._open[key] = session
        else:
            self._open.pop(key, None)
        return NO_DIGEST if session.loading and not run.live else _digest_of(session)

    @property
    def _known(self) -> dict[str, tuple[str, RunDigest]]:
        if self._digests is None:
            self._digests = _load(self._cache)
        return self._digests

    def _save(self) -> None:
        if not self._unsaved:
            return
        self._unsaved = False
        kept = [*self._known.items()][-_MOST_CACHED:]
        runs = {
            key: [version, one.best, one.best_step, one.curve]
            for key, (version, one) in kept
            if key not in self._open
        }
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            replace_text(self._cache, json.dumps({"format": _FORMAT, "runs": runs}))
        except OSError:
            pass  # Without a cache they are read again.


def _load(cache: Path) -> dict[str, tuple[str, RunDigest]]:
    """What was cached; nothing of a file that is damaged or of another version."""
    found = {}
    try:
        read = json.loads(read_text(cache, None, _LIMIT))
        for key, (version, best, best_step, curve) in (
            read["runs"].items() if read["format"] == _FORMAT else ()
        ):
            match version, best, best_step:
                case str(), (float() | None), (int() | None):
                    values = tuple(one if isinstance(one, float) else None for one in curve)
                    found[key] = version, RunDigest(best, best_step, values[:CURVE_POINTS])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    return found


def _version(run: ListedRun) -> str:
    """Changes whenever the run goes on, by what was read of it: no file is looked at."""
    status = run.summary.status
    return f"{run.summary.info.started} {status.heartbeat} {status.step} {run.summary.state}"


def _digest_of(session: Reader) -> RunDigest:
    validation = session.series.get(VAL_LOSS)
    best = validation.best("lower") if validation is not None else None
    traces = session.view.info.about_stage.traces
    shown = [TRAIN_LOSS, *(trace.metric for trace in traces)]
    main = next((one for name in shown if (one := session.series.get(name)) and len(one)), None)
    curve: tuple[float | None, ...] = ()
    if main is not None:
        values = main.values
        if len(values) > CURVE_POINTS:
            first, last = main.span("step")
            first += _LEFT_OUT * (last - first)
            values = main.bins(first, last + 0.5, CURVE_POINTS).mean
        curve = tuple(float(at) if math.isfinite(at) else None for at in values)
    return RunDigest(best and best.value, best and best.step, curve)


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.run.reader import Reader
    from lmm_tui.runs.status_text import RunSummary

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "a.log"
        log.write_text("".join(f"step: {at}, loss: {9 - at}, val_loss: {at}\n" for at in range(5)))
        view = Reader(log).view
        run = ListedRun(RunSummary(log, view.info, view.status, "finished", log_format="log"))
        details = RunDetails(Path(folder))
        details._cache = Path(folder) / "cache.json"
        assert not details.read_on([run]) and _load(details._cache)
        print(details.digest(run))
    print("=== 自测通过 ===")
