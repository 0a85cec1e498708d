"""The tables of compared runs: results with settings, seeds, answers to a prompt, evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len

from lmm_tui.cockpit.screens.runs_table import RunsTable
from lmm_tui.cockpit.widgets.styled_line import Part
from lmm_tui.cockpit.widgets.table import TableColumn, TableRow
from lmm_tui.i18n.language import listed, mark, tr
from lmm_tui.i18n.number_format import NOTHING, number
from lmm_tui.runs.compared_settings import setting_text
from lmm_tui.runs.comparison import Comparison
from lmm_tui.runs.run_tree import TreeLine
from lmm_tui.runs.seed_ranking import is_seed

RESULTS, SEEDS, SETTINGS = mark("results"), mark("ranking"), mark("settings")
ANSWERS, SCORES = mark("answers"), mark("evaluation")

_NAME = 20
_WIDEST = 18
_LONGEST = 36
"""Cells of the name of a setting."""
_BAR = 24
"""Cells of an error bar."""


@dataclass(frozen=True)
class ShownTable:
    """Columns and rows; `details` are texts below the table, by the key of a row."""

    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]
    details: Mapping[str, str] = field(default_factory=dict)


def tables_of(compared: Comparison) -> dict[str, ShownTable]:
    """By title; those that there is nothing in are left out."""
    found = {
        RESULTS: _results(compared),
        SEEDS: _ranking(compared),
        SETTINGS: _settings(compared),
        ANSWERS: _answers(compared),
        SCORES: _scores(compared),
    }
    return {title: table for title, table in found.items() if title == RESULTS or table.rows}


def _results(compared: Comparison) -> ShownTable:
    names, columns = compared.names(), compared.columns
    table = RunsTable(lambda: None)
    ordered = columns.sorted(compared.runs, compared.metric(), False)
    rows = [table.row(TreeLine("", run), names, columns, False) for run in ordered]
    details = {
        run.name: "\n".join((str(run.summary.path), run.summary.verdict.text, run.note))
        for run in compared.runs
    }
    return ShownTable(table.columns(names, columns, ordered), tuple(rows), details)


def _ranking(compared: Comparison) -> ShownTable:
    found = compared.ranking()
    differing = [key for key in compared.differing() if not is_seed(key)]
    ends = [one.mean + sign * (one.bar or 0.0) for one in found for sign in (-1, 1)]
    scale = (min(ends), max(ends)) if ends else (0.0, 0.0)
    rows, details = [], {}
    for place, one in enumerate(found, 1):
        key = f"{place}"
        cells: dict[str, str | Part] = {
            "place": key,
            "runs": listed(one.names[:2]) + (" …" if len(one.names) > 2 else ""),
            "count": f"{len(one.names)}",
            "mean": (number(one.mean, 4), "bold"),
            "bar": f"± {one.bar:.3g}" if one.bar is not None else NOTHING,
            "drawn": (_error_bar(one.mean, one.bar, scale), "$accent"),
        }
        settings = zip(differing, one.settings, strict=True)
        rows.append(TableRow(key, cells | {name: setting_text(value) for name, value in settings}))
        details[key] = listed(one.names)
    columns = (
        TableColumn("place", "#", 3, right=True),
        TableColumn("runs", tr("runs"), _NAME, grows=True),
        *(
            TableColumn(name, name.rpartition(".")[2], _width(name, rows), right=True, rank=2)
            for name in differing
        ),
        TableColumn("count", tr("seeds"), 5, right=True),
        TableColumn("mean", tr("mean"), 8, right=True),
        TableColumn("bar", "95 %", 9, right=True),
        TableColumn("drawn", "", _BAR, rank=1),
    )
    return ShownTable(columns, tuple(rows), details)


def _settings(compared: Comparison) -> ShownTable:
    names = [run.name for run in compared.runs if not run.is_log]
    rows, details = [], {}
    for key, texts in compared.settings().items():
        rows.append(TableRow(key, {"key": key} | {name: texts[name] or NOTHING for name in names}))
        details[key] = "\n".join(f"{name}: {texts[name] or NOTHING}" for name in names)
    columns = (
        TableColumn("key", tr("setting"), min(max(map(cell_len, details), default=0), _LONGEST)),
        *(TableColumn(name, name, _WIDEST, grows=True, rank=at) for at, name in enumerate(names)),
    )
    return ShownTable(columns, tuple(rows), details)


def _answers(compared: Comparison) -> ShownTable:
    rows, details = [], {}
    for at, prompt in enumerate(compared.answers()):
        rows.append(TableRow(f"{at}", {"run": (prompt.prompt, "bold"), "text": ""}))
        for run, (step, text) in prompt.answers.items():
            key = f"{at} {run}"
            cells = {"run": f"  {run}", "step": f"{step:,}", "text": text}
            rows.append(TableRow(key, cells))
            details[key] = f"{prompt.prompt}{text}"
    columns = (
        TableColumn("run", tr("prompt and run"), _NAME),
        TableColumn("step", tr("step"), 9, right=True, rank=1),
        TableColumn("text", tr("text"), 20, grows=True),
    )
    return ShownTable(columns, tuple(rows), details)


def _scores(compared: Comparison) -> ShownTable:
    names = [run.name for run in compared.runs]
    rows = []
    for at, task in enumerate(compared.scores()):
        best = max(score.value for _, score in task.scores.values())
        cells: dict[str, str | Part] = {"task": task.task, "metric": task.metric}
        for name, (_, score) in task.scores.items():
            spread = ""
            if score.interval is not None:
                spread = f" ±{(score.interval[1] - score.interval[0]) / 2:.3f}"
            style = "bold $success" if score.value == best else ""
            cells[name] = (f"{score.value:.3f}{spread}", style)
        rows.append(TableRow(f"{at}", cells))
    columns = (
        TableColumn("task", tr("task"), 16, grows=True),
        TableColumn("metric", tr("metric"), 10, rank=1),
        *(TableColumn(name, name, 12, right=True, rank=at + 2) for at, name in enumerate(names)),
    )
    return ShownTable(columns, tuple(rows))


def _error_bar(mean: float, bar: float | None, scale: tuple[float, float]) -> str:
    """`  ├──●──┤  ` on the scale of all means and their bars."""
    low, high = scale
    if high <= low:
        return ""

    def cell(value: float) -> int:
        return round((value - low) / (high - low) * (_BAR - 1))

    cells = [" "] * _BAR
    if bar is not None:
        first, last = cell(mean - bar), cell(mean + bar)
        cells[first : last + 1] = "─" * (last + 1 - first)
        cells[first], cells[last] = "├", "┤"
    cells[cell(mean)] = "●"
    return "".join(cells)


def _width(name: str, rows: Sequence[TableRow]) -> int:
    texts = [name.rpartition(".")[2], *(str(row.cells.get(name, "")) for row in rows)]
    return min(max(map(cell_len, texts)), _WIDEST)


if __name__ == "__main__":
    from pathlib import Path

    from lmm_tui.runs.run_details import RunDetails

    print([*tables_of(Comparison((), RunDetails(Path())))])
    print(_error_bar(2.0, 0.1, (1.5, 2.5)))
    print("=== 自测通过 ===")
