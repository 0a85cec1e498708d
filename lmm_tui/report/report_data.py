"""What a report says of its runs, as plain data: bounded, whatever the length of the runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmm_tui.engine.evaluation.records import Record, read_records
from lmm_tui.engine.run.events import RunEvent
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_records import RunInfo, RunStatus
from lmm_tui.engine.run.samples import RunSample
from lmm_tui.metrics import names
from lmm_tui.metrics.health.verdict import Verdict
from lmm_tui.metrics.names import describe
from lmm_tui.metrics.series.decimate import as_json, decimate
from lmm_tui.metrics.series.series import Series, SeriesStore
from lmm_tui.runs.compared_settings import differing, settings_began, settings_now
from lmm_tui.runs.run_health import judge
from lmm_tui.runs.run_list import labels_of

MOST_RUNS = 20
MOST_CHARTS = 24
MOST_POINTS = 65_000
"""Bins of all curves together: about 2 MB of text."""
MOST_BINS = 1_000
"""Of one curve."""
MOST_EVENTS = 200
MOST_PROMPTS = 4
SAMPLES_EACH = 6
LONGEST_SAMPLE = 1_200

_KINDS = ("alert", "error", "command", "resume", "validation", "eval", "end")
_HIDDEN = ("grad/", names.PROBE, "update/")
_FIRST = (names.TRAIN_LOSS, names.VAL_LOSS, names.LR, names.GRAD_NORM, names.TOKENS_PER_S)

Curve = dict[str, list[float | None]]
"""`x` (steps), `low`, `mean`, `high`, of equal length; None where nothing finite was measured."""


@dataclass(frozen=True)
class ReportedRun:
    """One run of a report."""

    name: str
    path: Path
    info: RunInfo
    status: RunStatus
    state: str
    log_format: str
    seconds: float
    verdict: Verdict
    alerts: list[dict[str, Any]]
    best: dict[str, tuple[int, float]]
    """Of metrics of which one direction is better: step and value."""
    settings: dict[str, Any]
    changed: dict[str, tuple[Any, Any]]
    """What changed while it trained: what it began with, what holds now."""
    curves: dict[str, Curve]
    positions: Curve
    """`x` (steps), `tokens`, `seconds` at some steps, from which the others follow."""
    events: list[RunEvent]
    samples: dict[str, list[RunSample]]
    """By prompt, over the steps of the run."""
    evaluations: list[Record]


@dataclass(frozen=True)
class ReportData:
    runs: list[ReportedRun]
    metrics: list[str]
    """Those with a chart, in order."""
    differing: list[str]
    """The settings in which the runs differ."""


def collect(paths: Sequence[Path], metrics: Sequence[str] = ()) -> ReportData:
    """Read runs or logs; `metrics` chooses the charts."""
    sessions = []
    for path in paths:
        session = Reader(path)
        session.poll()
        sessions.append(session)
    shown = list(metrics) or _chosen([session.series for session in sessions])
    bins = min(max(MOST_POINTS // max(len(sessions) * len(shown), 1), 50), MOST_BINS)
    labels = labels_of(paths).values()
    runs = [_run(*pair, shown, bins) for pair in zip(labels, sessions, strict=True)]
    return ReportData(runs, shown, differing([run.settings for run in runs]))


def curve(one: Series, bins: int) -> Curve:
    """Points as they are where they are few, else the middles of bins."""
    found = decimate(one, bins)
    x = found.middles if found.width % 2 == 0 else found.middles.astype(int)
    low, mean, high = map(as_json, (found.low, found.mean, found.high))
    return {"x": x.tolist(), "low": low, "mean": mean, "high": high}


def _run(label: str, session: Reader, metrics: Sequence[str], bins: int) -> ReportedRun:
    view, store = session.view, session.series
    health, verdict = judge(session)
    began = {} if session.foreign else settings_began(session.run_dir)
    now = settings_now(session.run_dir) if began else {}
    found = {name: one for name in metrics if (one := store.get(name)) is not None and len(one)}
    best = {}
    for name, one in found.items():
        if point := one.best(describe(name).better):
            best[name] = (point.step, point.value)
    return ReportedRun(
        label,
        session.run_dir.path,
        view.info,
        view.status,
        view.state,
        view.log_format,
        view.spent_s or view.info.seconds_at(view.status.heartbeat),
        verdict,
        [alert.record() for alert in health.alerts[:MOST_EVENTS]],
        best,
        now,
        {key: (began.get(key), now.get(key)) for key in differing([began, now])},
        {name: curve(one, bins) for name, one in found.items()},
        _positions(store),
        _events(session.events),
        _samples(session.samples),
        [] if session.foreign else read_records(session.run_dir),
    )


def _chosen(stores: Sequence[SeriesStore]) -> list[str]:
    """Metrics worth a chart: the usual ones first, none of single layers."""
    seen = dict.fromkeys(name for store in stores for name in store.names())
    usual = [name for name in _FIRST if name in seen]
    others = [name for name in seen if name not in usual and not name.startswith(_HIDDEN)]
    known = [name for name in others if name in names.KNOWN or name in names.STAGED]
    rest = [name for name in others if name not in known]
    return [*usual, *known, *rest][:MOST_CHARTS]


def _positions(store: SeriesStore) -> Curve:
    """Tokens and seconds at some rows."""
    if not len(store):
        return {"x": [], "tokens": [], "seconds": []}
    rows = [round(at * (len(store) - 1) / 63) for at in range(64)] if len(store) > 64 else None
    taken = rows if rows is not None else list(range(len(store)))
    steps, times, tokens = store.steps, store.axis("time"), store.axis("tokens")
    start = float(times[0])
    return {
        "x": [int(steps[at]) for at in taken],
        "tokens": [_finite(float(tokens[at])) for at in taken],
        "seconds": [_finite(round(float(times[at]) - start, 1)) for at in taken],
    }


def _events(events: Sequence[RunEvent]) -> list[RunEvent]:
    """What happened, but for the routine; where that is much, its beginning and its end."""
    kept = [one for one in events if one.kind in _KINDS and not one.abandoned]
    half = MOST_EVENTS // 2
    return kept if len(kept) <= MOST_EVENTS else kept[:half] + kept[-half:]


def _samples(samples: Sequence[RunSample]) -> dict[str, list[RunSample]]:
    by_prompt: dict[str, list[RunSample]] = {}
    for one in samples:
        if one.kind == "sample" and not one.abandoned:
            cut = replace(one, text=one.text[:LONGEST_SAMPLE])
            by_prompt.setdefault(one.prompt[:LONGEST_SAMPLE], []).append(cut)
    often = sorted(by_prompt, key=lambda prompt: -len(by_prompt[prompt]))[:MOST_PROMPTS]
    return {prompt: _spread(by_prompt[prompt], SAMPLES_EACH) for prompt in often}


def _spread(records: list[RunSample], count: int) -> list[RunSample]:
    """The first, the last and some between."""
    if len(records) <= count:
        return records
    return [records[round(at * (len(records) - 1) / (count - 1))] for at in range(count)]


def _finite(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


if __name__ == "__main__":
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".log", buffering=1) as log:
        log.write("".join(f"step: {at}, loss: {90 if at == 99 else 2.5}\n" for at in range(2002)))
        data = collect([Path(log.name)])
        line = data.runs[0].curves[names.TRAIN_LOSS]
        print(data.metrics, len(line["x"]), max(filter(None, line["high"])))
        assert max(filter(None, line["high"])) == 90.0
    print("=== 自测通过 ===")
