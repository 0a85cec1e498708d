"""A report as Markdown, for a pull request or a model card: tables, no pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import number
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.report import tables
from lmm_tui.report.report_data import ReportData
from lmm_tui.report.tables import ReportTable
from lmm_tui.terminal.safe_text import clean

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~@$])")
_FEW_EVENTS = 20


def markdown_page(data: ReportData, title: str) -> str:
    """The page."""
    return "\n".join(_parts(data, title)).rstrip() + "\n"


def _parts(data: ReportData, title: str) -> Iterator[str]:
    yield f"# {safe_markdown(title)}\n"
    yield markdown_table(tables.overview(data))
    for run in data.runs:
        verdict = safe_markdown(translate_message(run.verdict.text))
        yield f"- **{safe_markdown(run.name)}**: {verdict}"
        if run.changed:
            text = tr("changed while {run} trained: {changes}", run=run.name,
                      changes=tables.differences_in_one(run))  # fmt: skip
            yield f"- {safe_markdown(text)}"
    yield ""
    if differ := tables.settings(data):
        yield f"## {tr('Settings that differ')}\n\n{markdown_table(differ)}"
    if best := tables.bests(data):
        yield f"## {tr('best values')}\n\n{markdown_table(best)}"
    yield from evaluation_section(data)
    for run in data.runs:
        if events := tables.timeline(run):
            few = ReportTable(events.head, events.rows[-_FEW_EVENTS:], events.left)
            yield f"## {tr('What happened')}: {safe_markdown(run.name)}\n\n{markdown_table(few)}"
    yield f"## {tr('Environment and origin')}\n\n{markdown_table(tables.environment(data))}"


def evaluation_section(data: ReportData) -> Iterator[str]:
    rows = [
        [
            run.name,
            score["label"],
            score["metric"],
            number(score["value"]),
            " – ".join(number(end) for end in score["interval"] or ()),
        ]
        for run in data.runs
        for score in tables.evaluations(run)
    ]
    if rows:
        head = [tr("run"), tr("task"), tr("metric"), tr("score"), "95 %"]
        table = markdown_table(ReportTable(head, rows, frozenset({0, 1, 2})))
        yield f"## {tr('Evaluation')}\n\n{table}"


def markdown_table(table: ReportTable) -> str:
    marks = ["---" if at in table.left else "--:" for at in range(len(table.head))]
    rows = [[*map(safe_markdown, row)] for row in (table.head, *table.rows)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"| {' | '.join(marks)} |", *lines[1:], ""])


def safe_markdown(text: str) -> str:
    """On one line, no character of it read as Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", " ".join(clean(text).split()))


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    from lmm_tui.report.report_data import collect

    with tempfile.NamedTemporaryFile("w", suffix=".log", buffering=1) as log:
        log.write("step: 1, loss: 3\nstep: 2, loss: 2.5\n")
        print(markdown_page(collect([Path(log.name)]), "a|b <script>"))
    print("=== 自测通过 ===")
