"""The rows and columns of the runs screen: the columns that were chosen, in words and colours."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.cells import cell_len

from lmm_tui.cockpit.widgets.health_panel import VERDICT_STYLES
from lmm_tui.cockpit.widgets.run_line import BADGES
from lmm_tui.cockpit.widgets.styled_line import Part
from lmm_tui.cockpit.widgets.table import TableColumn, TableRow
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import number
from lmm_tui.runs.run_columns import DIFFERING, RunColumns
from lmm_tui.runs.run_details import CURVE_POINTS
from lmm_tui.runs.run_list import ListedRun
from lmm_tui.runs.run_tree import TreeLine
from lmm_tui.runs.status_text import NOTHING, count, duration, result_text, verdict_text

DEFAULT_COLUMNS = (
    *("name", "state", "health", "stage", DIFFERING, "step", "loss", "best", "curve"),
    *("tokens", "seconds", "speed", "started", "parent", "tag", "note"),
)
"""What a list shows until a person chooses."""

_OFTEN_EMPTY = ("parent", "tag", "note")

GROUP = "\0"
"""Before the name of a group, in the key of its row."""

_KNOWN = {
    column.id: column
    for column in (
        TableColumn("name", mark("name"), 16, grows=True),
        TableColumn("state", mark("state"), 10),
        TableColumn("health", mark("health"), 14),
        TableColumn("stage", mark("stage"), 8, rank=8),
        TableColumn("group", mark("group"), 12, rank=8),
        TableColumn("tag", mark("tags"), 10, rank=9),
        TableColumn("model", mark("model"), 8, rank=9),
        TableColumn("parameters", mark("parameters"), 10, right=True, rank=9),
        TableColumn("step", mark("step"), 13, right=True, rank=2),
        TableColumn("tokens", mark("tokens"), 7, right=True, rank=6),
        TableColumn("loss", mark("loss"), 8, right=True, rank=3),
        TableColumn("val", mark("val"), 7, right=True, rank=4),
        TableColumn("best", mark("best val"), 8, right=True, rank=1),
        TableColumn("best_step", mark("best at"), 8, right=True, rank=5),
        TableColumn("curve", mark("curve"), CURVE_POINTS, rank=4),
        TableColumn("speed", "tok/s", 6, right=True, rank=7),
        TableColumn("seconds", mark("time"), 11, right=True, rank=7),
        TableColumn("started", mark("age"), 12, right=True, rank=4),
        TableColumn("device", mark("device"), 8, rank=9),
        TableColumn("host", mark("host"), 10, rank=9),
        TableColumn("parent", mark("from"), 12, grows=True, rank=10),
        TableColumn("note", mark("note"), 16, grows=True, rank=11),
    )
}
_SETTING_RANK = 5
_LOG_RANK = 12
"""What is logged and kept changes no result: the first to be left out."""
_WIDEST_SETTING = 14
_READ_FOR_WIDTH = 200
"""Rows that are measured for the width of a column without one of its own."""

CURRENT = "bold $accent"
QUIET = "$foreground 70%"


class RunsTable:
    """Rows of runs in chosen columns; those of runs that have not changed are kept."""

    def __init__(self, shown_run: Callable[[], Path | None]) -> None:
        self._shown_run = shown_run
        self._cells: dict[str, tuple[object, Mapping[str, str | Part]]] = {}

    def columns(
        self, names: Sequence[str], columns: RunColumns, runs: Sequence[ListedRun]
    ) -> tuple[TableColumn, ...]:
        """The table's columns for full names of columns."""
        return tuple(_column(name, columns, runs) for name in names)

    @staticmethod
    def without_empty(
        names: Sequence[str], columns: RunColumns, runs: Sequence[ListedRun]
    ) -> list[str]:
        """Without the columns that few runs fill, where none does: names need the room."""
        return [
            name
            for name in names
            if name not in _OFTEN_EMPTY or any(columns.value(run, name) for run in runs)
        ]

    def row(
        self, line: TreeLine, names: Sequence[str], columns: RunColumns, marked: bool
    ) -> TableRow:
        """A run, or the head of a group."""
        if line.run is None:
            return TableRow(GROUP + line.group, _group_cells(line, columns), marked)
        run = line.run
        now = time.time()
        # Ages are shown by the minute; in the first one they move.
        minute = now // 60 if now - run.summary.info.started > 3600 else now // 2
        current = self._shown_run() == run.summary.path
        version = (run, columns.version(run), tuple(names), line.prefix, minute, current)
        known = self._cells.get(run.name)
        if known is None or known[0] != version:
            cells = {name: _cell(run, name, columns) for name in names}
            cells["name"] = (line.prefix + run.name, CURRENT if current else "")
            self._cells[run.name] = known = version, cells
        return TableRow(run.name, known[1], marked)


def _column(name: str, columns: RunColumns, runs: Sequence[ListedRun]) -> TableColumn:
    if known := _KNOWN.get(name):
        return replace(known, title=tr(known.title))
    title = name.rpartition(".")[2]
    values = [columns.value(run, name) for run in runs[:_READ_FOR_WIDTH]]
    texts = [columns.text(run, name) for run in runs[:_READ_FOR_WIDTH]]
    width = min(max(map(cell_len, [title, *texts])), _WIDEST_SETTING)
    numeric = any(type(value) in (int, float) for value in values)
    rank = _LOG_RANK if name.startswith("log.") else _SETTING_RANK
    return TableColumn(name, title, width, right=numeric, rank=rank)


def _cell(run: ListedRun, name: str, columns: RunColumns) -> str | Part:
    info, status = run.summary.info, run.summary.status
    verdict = run.summary.verdict
    if name == "state":
        sign, colour = BADGES.get(run.summary.state, ("?", "$warning"))
        return f"{sign} {tr(run.summary.state)}", "$error" if verdict.level == "error" else colour
    if name == "health":
        return verdict_text(verdict), VERDICT_STYLES[verdict.level]
    if name == "stage":
        return tr(run.summary.log_format) if run.is_log else info.stage
    if name == "step":
        if not status.step and run.is_log:
            return NOTHING
        return f"{status.step:,}" + (f"/{count(status.total_steps)}" if status.total_steps else "")
    if name == "loss":
        return result_text(info, status, few=True)
    if name == "started":
        return (duration(time.time() - info.started) if info.started else NOTHING), QUIET
    if name == "curve":
        if not (values := columns.value(run, name)):
            return ""
        from lmm_tui.charts.sparkline import written_curve  # It imports numpy.

        return written_curve(values), "$accent"
    if name in ("parent", "tag", "note"):
        return str(columns.value(run, name) or ""), QUIET
    return columns.text(run, name)


def _group_cells(line: TreeLine, columns: RunColumns) -> dict[str, str | Part]:
    """What a group comes to: how many runs, how many of them live, the best of them."""
    live = sum(run.live for run in line.members)
    bests = [one for run in line.members if isinstance(one := columns.value(run, "best"), float)]
    sign = "▸" if line.folded else "▾"
    return {
        "name": (f"{sign} {line.group} ({len(line.members)})", "bold"),
        "state": (tr("{count} live", count=live), "$success") if live else "",
        "best": (number(min(bests)), "bold") if bests else "",
    }


if __name__ == "__main__":
    from lmm_tui.engine.run.run_records import RunInfo, RunStatus
    from lmm_tui.runs.run_details import RunDetails
    from lmm_tui.runs.status_text import RunSummary

    info = RunInfo("base", "sft", 0.0, 0.0, "here", 1, 0.0)
    run = ListedRun(RunSummary(Path("base"), info, RunStatus("finished", 10, 10), "finished"))
    table, known = RunsTable(lambda: None), RunColumns([run], RunDetails(Path()))
    print(table.row(TreeLine("└─ ", run), ("name", "state", "step", "best"), known, False))
    print("=== 自测通过 ===")
