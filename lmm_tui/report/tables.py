"""The tables of a report as rows of plain text, for HTML and Markdown alike."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from lmm_tui.engine.run.events import RunEvent
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.metric_titles import title_of
from lmm_tui.i18n.number_format import NOTHING, count, duration, number
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics.names import VAL_LOSS
from lmm_tui.report.report_data import ReportData, ReportedRun
from lmm_tui.runs.compared_settings import setting_text
from lmm_tui.runs.status_text import VERDICT_SIGNS, lineage, verdict_text

RUN_COLUMNS = (
    mark("run"),
    mark("state"),
    mark("health"),
    mark("stage"),
    mark("model"),
    mark("parameters"),
    mark("step"),
    mark("tokens"),
    mark("loss"),
    mark("best val loss"),
    mark("time"),
    mark("tokens/s"),
)


@dataclass(frozen=True)
class ReportTable:
    """A head and rows of texts; `left` are the columns that are text, not numbers."""

    head: list[str]
    rows: list[list[str]]
    left: frozenset[int] = frozenset({0})


def overview(data: ReportData) -> ReportTable:
    """A row a run."""
    return ReportTable(
        [tr(name) for name in RUN_COLUMNS],
        [_overview(run) for run in data.runs],
        frozenset({0, 1, 2, 3, 4}),
    )


def settings(data: ReportData) -> ReportTable | None:
    """The settings in which the runs differ, or None where there are none."""
    if not data.differing:
        return None
    head = [tr("setting"), *(run.name for run in data.runs)]
    rows = [[key, *(_setting(run, key) for run in data.runs)] for key in data.differing]
    return ReportTable(head, rows)


def bests(data: ReportData) -> ReportTable | None:
    """The best value of each metric of which one direction is better, and the last."""
    metrics = [name for name in data.metrics if any(name in run.best for run in data.runs)]
    if not metrics:
        return None
    head = [tr("metric"), *(run.name for run in data.runs)]
    rows = [[title(name), *(_best(run, name) for run in data.runs)] for name in metrics]
    return ReportTable(head, rows)


def timeline(run: ReportedRun) -> ReportTable | None:
    """What happened in one run: its events, or of a log the alerts of the health rules."""
    rows = [_event(event) for event in run.events] or [_alert(alert) for alert in run.alerts]
    if not rows:
        return None
    head = [tr("step"), tr("event"), "", tr("what happened"), tr("asked by")]
    return ReportTable(head, rows, frozenset({1, 2, 3, 4}))


def evaluations(run: ReportedRun) -> list[dict[str, Any]]:
    """Scores with a bar each: `label`, `value`, `low`, `high`, `chance` from 0 to 1."""
    return [
        {
            "label": tr("{task}, step {step}", task=score.task, step=record.step or 0),
            "metric": score.metric,
            "value": score.value,
            "interval": score.interval,
            "chance": score.chance,
        }
        for record in run.evaluations
        for score in record.outcome.scores
    ]


def environment(data: ReportData) -> ReportTable:
    """On what the runs were made, and what from."""
    packages = dict.fromkeys(name for run in data.runs for name in run.info.versions)
    rows = [
        [tr("device"), *(", ".join(filter(None, (run.info.device, run.info.precision)))
                         for run in data.runs)],
        [tr("host"), *(run.info.host for run in data.runs)],
        [tr("started"), *(_date(run.info.created) for run in data.runs)],
        [tr("from"), *(lineage(run.info) for run in data.runs)],
        [tr("group"), *(run.info.group for run in data.runs)],
        *([name, *(run.info.versions.get(name, "") for run in data.runs)] for name in packages),
    ]  # fmt: skip
    head = ["", *(run.name for run in data.runs)]
    kept = [[cell or NOTHING for cell in row] for row in rows if any(row[1:])]
    return ReportTable(head, kept, frozenset(range(len(head))))


def title(metric: str) -> str:
    """A metric's title, with its name where that says more."""
    shown = title_of(metric)
    return shown if shown == metric else f"{shown} ({metric})"


def differences_in_one(run: ReportedRun) -> str:
    """What was changed while a run trained, in one line; empty where nothing was."""
    parts = (
        f"{key} {setting_text(old)} → {setting_text(new)}"
        for key, (old, new) in run.changed.items()
    )
    return ", ".join(parts)


def _event(event: RunEvent) -> list[str]:
    by = str(event.details.get("by", ""))
    kind, message = tr(event.kind), translate_message(event.message)
    return [_step(event.step), kind, _sign(event.level), message, by]


def _alert(alert: dict[str, Any]) -> list[str]:
    suspect = alert["suspect"]
    text = f"{translate_message(alert['what'])}; {tr(suspect)}"
    return [_step(alert["step"]), tr("alert"), _sign(alert["severity"]), text, ""]


def _overview(run: ReportedRun) -> list[str]:
    info, status = run.info, run.status
    best = run.best.get(VAL_LOSS)
    steps = f"{status.step:,}" + (f" / {status.total_steps:,}" if status.total_steps else "")
    return [
        run.name,
        tr(run.state),
        verdict_text(run.verdict),
        tr(run.log_format) if run.log_format else info.stage,
        info.model or NOTHING,
        count(info.parameters) if info.parameters else NOTHING,
        steps,
        count(status.tokens) if status.tokens else NOTHING,
        number(status.loss),
        f"{number(best[1])} @{best[0]:,}" if best else number(status.val_loss),
        duration(run.seconds) if run.seconds else NOTHING,
        count(status.tokens_per_s) if status.tokens_per_s else NOTHING,
    ]


def _setting(run: ReportedRun, key: str) -> str:
    if key not in run.settings:
        return NOTHING
    now = setting_text(run.settings[key])
    return f"{setting_text(run.changed[key][0])} → {now}" if key in run.changed else now


def _best(run: ReportedRun, metric: str) -> str:
    best = run.best.get(metric)
    return f"{number(best[1])} @{best[0]:,}" if best else NOTHING


def _step(step: object) -> str:
    return f"{step:,}" if isinstance(step, int) else NOTHING


def _sign(level: object) -> str:
    return {"warning": VERDICT_SIGNS["warning"], "error": VERDICT_SIGNS["error"]}.get(
        str(level), ""
    )


def _date(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else ""
    except (OverflowError, OSError, ValueError):
        return ""


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    from lmm_tui.report.report_data import collect

    with tempfile.NamedTemporaryFile("w", suffix=".log", buffering=1) as log:
        log.write("step: 1, loss: 3\nstep: 2, loss: 2.5\n")
        print(overview(collect([Path(log.name)])).rows)
    print("=== 自测通过 ===")
