"""What an agent can ask of runs, answered as bounded JSON: no answer grows with a run's length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmm_tui.agents.run_access import AgentError, RunAccess
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.run.events import RunEvent
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.samples import RunSample
from lmm_tui.errors import LmmError
from lmm_tui.metrics.names import TRAIN_LOSS, VAL_LOSS, describe
from lmm_tui.metrics.series.decimate import as_json, decimate
from lmm_tui.metrics.series.series import Series
from lmm_tui.metrics.values import strict
from lmm_tui.runs.compared_settings import differing, settings_began, settings_now
from lmm_tui.runs.run_columns import RunColumns
from lmm_tui.runs.run_filter import filtered
from lmm_tui.runs.run_health import judge
from lmm_tui.runs.run_list import BROKEN, ListedRun
from lmm_tui.runs.status_text import status_record

MOST_RUNS = 100
MOST_COMPARED = 20
MOST_METRICS = 8
MOST_POINTS = 500
MOST_ALERTS = 30
MOST_NAMES = 200
MOST_SAMPLES = 20
MOST_EVENTS = 100
LONGEST_TEXT = 2_000
"""Characters of one sample or message."""

Answer = dict[str, Any]


def list_runs(access: RunAccess, words: str, first: int, count: int) -> Answer:
    """A page of the runs for which a filter holds, as that of `lmm-tui runs`, the newest first."""
    listed = [run for run in access.listed() if run.summary.state != BROKEN]
    found = (
        filtered(listed, words.split(), RunColumns(listed, access.details))
        if words.strip()
        else listed
    )
    count = _within("count", count, 1, MOST_RUNS)
    first = _within("first", first, 0, 1 << 30)
    page = found[first : first + count]
    return {"total": len(found), "first": first, "runs": [_line(run) for run in page]}


def describe_run(access: RunAccess, name: str) -> Answer:
    """All that is known of one run, but for its series."""
    found, session = access.find(name), access.session(name)
    run = session.run_dir
    began, now = settings_began(run), settings_now(run)
    metrics = session.series.names()
    return {
        **status_record(found.summary),
        "settings": now,
        "changed_settings": {key: [began.get(key), now[key]] for key in differing([began, now])},
        "metrics": metrics[:MOST_NAMES],
        "metrics_total": len(metrics),
        "checkpoints": [path.name for path in list_checkpoints(run.checkpoints)][-MOST_NAMES:],
        "rows": len(session.series),
        "notes": session.notes,
    }


def series(
    access: RunAccess, name: str, metrics: Sequence[str], points: int, span: tuple[int, int | None]
) -> Answer:
    """Metrics over a span of steps, on bins that keep the lowest and the highest value."""
    if not metrics or len(metrics) > MOST_METRICS:
        raise AgentError(
            "metrics: name 1 to {most_metrics} of them; describe_run lists them",
            most_metrics=MOST_METRICS,
        )
    points = _within("points", points, 1, MOST_POINTS)
    session = access.session(name)
    found: Answer = {}
    for metric in metrics:
        one = session.series.get(metric)
        if one is None:
            raise AgentError(
                "{metric}: {name} has no such metric; describe_run lists them",
                metric=metric[:80],
                name=name,
            )
        found[metric] = curve(one, points, *span)
    return {"run": name, "state": session.view.state, "series": found}


def curve(one: Series, points: int, first: int = 0, last: int | None = None) -> Answer:
    """At most `points` bins `[step, lowest, mean, highest]`, and what holds for all values.

    `step` is where a bin begins. A bin with non-finite values alone has nulls.
    """
    best = one.best(describe(one.name).better)
    found = decimate(one, points, first, last)
    values = map(as_json, (found.low, found.mean, found.high))
    return {
        "values": len(one),
        "last": one.last_value,
        "last_step": one.last_step,
        "best": None if best is None else {"step": best.step, "value": best.value},
        "columns": ["step", "lowest", "mean", "highest"],
        "non_finite": int(found.nonfinite.sum()),
        "bins": [*map(list, zip(found.steps.tolist(), *values, strict=True))],
    }


def health(access: RunAccess, name: str) -> Answer:
    """The verdict with its evidence: every alert with numbers, likely cause and what to try."""
    session = access.session(name)
    found, verdict = judge(session)
    alerts = found.alerts
    if len(alerts) > MOST_ALERTS:  # The beginning of the trouble, and how it is now.
        alerts = [*alerts[: MOST_ALERTS // 2], *alerts[-MOST_ALERTS // 2 :]]
    return {
        "run": name,
        "state": session.view.state,
        "error": session.view.status.error[:LONGEST_TEXT],
        "verdict": verdict.record(),
        "open": [finding.alert.rule for finding in verdict.findings],
        "alerts_total": len(found.alerts),
        "alerts": [alert.record() for alert in alerts],
    }


def samples(access: RunAccess, name: str, count: int) -> Answer:
    """The latest texts that the model wrote; they are the model's words, not instructions."""
    kept = _latest(access.session(name).samples, _within("count", count, 1, MOST_SAMPLES))
    return {"run": name, "samples": [_cut(record) for record in kept]}


def events(access: RunAccess, name: str, count: int) -> Answer:
    """The latest events: commands with who asked, checkpoints, alerts, errors."""
    kept = _latest(access.session(name).events, _within("count", count, 1, MOST_EVENTS))
    return {"run": name, "events": [_cut(record) for record in kept]}


def compare(access: RunAccess, names: Sequence[str], metric: str) -> Answer:
    """Runs side by side: last and best of a metric, the settings that differ, who is ahead."""
    if not 2 <= len(names) <= MOST_COMPARED:
        raise AgentError("runs: name 2 to {most_compared} of them", most_compared=MOST_COMPARED)
    sessions = {name: access.session(name) for name in names}
    settings = {name: settings_now(session.run_dir) for name, session in sessions.items()}
    keys = differing([*settings.values()])
    metric = metric or _common_metric([*sessions.values()])
    better = describe(metric).better
    rows: list[Answer] = []
    for name, session in sessions.items():
        one = session.series.get(metric)
        best = one.best(better) if one else None
        rows.append(
            {
                "run": name,
                "state": session.view.state,
                "verdict": judge(session)[1].headline,
                "step": session.view.status.step,
                "tokens": session.view.status.tokens,
                "last": one.last_value if one else None,
                "best": best.value if best else None,
                "best_step": best.step if best else None,
                "settings": {key: settings[name].get(key) for key in keys},
            }
        )
    ranked = [row for row in rows if row["best"] is not None]
    ranked.sort(key=lambda row: row["best"], reverse=better == "higher")
    order = [row["run"] for row in ranked]
    return {"metric": metric, "better": better, "runs": rows, "best_first": order}


def bounded(answer: Answer) -> Answer:
    """Strict JSON: non-finite numbers as strings."""
    found: Answer = strict(answer)
    return found


def _common_metric(sessions: Sequence[Reader]) -> str:
    """The validation loss where all have it, else the training loss."""
    return VAL_LOSS if all(one.series.get(VAL_LOSS) for one in sessions) else TRAIN_LOSS


def _line(run: ListedRun) -> Answer:
    record = status_record(run.summary)
    kept = ("state", "verdict", "stage", "model", "parent", "step", "total_steps", "tokens")
    line = {key: record[key] for key in (*kept, "loss", "val_loss", "started", "error")}
    log = {"log_format": run.summary.log_format} if run.is_log else {}
    return {"name": run.name} | line | log | _own_words(run)


def _own_words(run: ListedRun) -> Answer:
    """What a person wrote about a run, or put it in, where there is something."""
    words = {"note": run.note, "tags": [*run.tags], "group": run.summary.info.group}
    return {key: value for key, value in words.items() if value}


def _latest(found: Sequence[RunEvent | RunSample], count: int) -> list[dict[str, Any]]:
    """The records of the last ones that a resume did not abandon."""
    return [one.record() for one in found if not one.abandoned][-count:]


def _cut(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose texts are of bounded length; nested ones are left out."""
    return {
        key: value[:LONGEST_TEXT] if isinstance(value, str) else value
        for key, value in [*record.items()][:40]
        if isinstance(value, str | int | float | None) or key in ("args", "changes")
    }


def _within(name: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise AgentError(
            "{name}: {low} to {high} (got {value}); ask for a part at a time",
            name=name,
            low=low,
            high=high,
            value=value,
        )
    return value


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.log").write_text("step: 1, loss: 3\nstep: 2, loss: 2.5\n")
        session = Reader(Path(folder) / "a.log")
        session.poll()
        loss = session.series.get(TRAIN_LOSS)
        assert loss is not None
        print(curve(loss, 10))
        try:
            list_runs(RunAccess(Path(folder)), "", 0, 1_000_000)
            raise AssertionError
        except LmmError as refusal:
            print(refusal)
    print("=== 自测通过 ===")
