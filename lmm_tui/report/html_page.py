"""A report as one HTML file: style, script, curves and texts inside, nothing from a network.

Curves are drawn by uPlot (`vendor/uplot`, MIT) and `page.js`. All texts of runs are cleaned and
escaped; the page may load nothing and send nothing, by its own content security policy.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from lmm_tui.i18n import language
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import number
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics.drawing.palette import SERIES_COLORS, shade
from lmm_tui.report import tables
from lmm_tui.report.report_data import ReportData, ReportedRun
from lmm_tui.report.tables import ReportTable
from lmm_tui.terminal.safe_text import clean

_HERE = Path(__file__).resolve().parent
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
_AXES = {
    "step": mark("step"),
    "tokens": mark("tokens"),
    "time": mark("time"),
    "flops": mark("FLOPs"),
}
_COLOURS = {"error": "var(--error)", "warning": "var(--warning)"}


def html_page(data: ReportData, title: str) -> str:
    """The page."""
    style = _text_of("vendor/uplot/uPlot.min.css") + _text_of("page.css")
    script = _text_of("vendor/uplot/uPlot.iife.min.js")
    licence = _text_of("vendor/uplot/LICENSE").replace("*/", "* /")
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="{language.chosen()}">',
            '<head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_safe(title)}</title><style>{style}</style></head><body>",
            *_sections(data, title),
            f'<script type="application/json" id="data">{_json(_script_data(data))}</script>',
            f"<script>/* uPlot. {licence} */\n{script}</script>",
            f"<script>{_text_of('ticks.js')}{_text_of('page.js')}</script>",
            "</body></html>\n",
        ]
    )


def _sections(data: ReportData, title: str) -> Iterator[str]:
    made = tr("made {when} by lmm-tui", when=time.strftime("%Y-%m-%d %H:%M"))
    yield f'<header><h1>{_safe(title)}</h1><span class="faint">{_safe(made)}</span></header>'
    yield _table(tables.overview(data), swatches=True)
    for run in data.runs:
        if run.verdict.is_trouble:
            text = translate_message(run.verdict.text)
            yield f"<p><b>{_safe(run.name)}</b>: {_safe(text)}</p>"
    if len(data.runs) > 1:
        yield _heading(tr("Settings that differ"))
        differ = tables.settings(data)
        yield _table(differ) if differ else f"<p>{_safe(tr('none'))}</p>"
    for run in data.runs:
        if run.changed:
            text = tr("changed while {run} trained: {changes}", run=run.name,
                      changes=tables.differences_in_one(run))  # fmt: skip
            yield f'<p class="faint">{_safe(text)}</p>'
    yield from _curves(data)
    yield _heading(tr("What happened"))
    for at, run in enumerate(data.runs):
        yield from _timeline(run, at)
    yield from _samples(data)
    yield from _evaluations(data)
    yield _heading(tr("Environment and origin"))
    yield _table(tables.environment(data))


def _curves(data: ReportData) -> Iterator[str]:
    yield _heading(tr("Curves"))
    if best := tables.bests(data):
        yield f"<details><summary>{_safe(tr('best values'))}</summary>{_table(best)}</details>"
    first = _first_axis(data)
    options = "".join(
        f'<option value="{key}"{" selected" * (key == first)}>{_safe(tr(name))}</option>'
        for key, name in _AXES.items()
    )
    shown = "".join(
        f'<label><input type="checkbox" data-show="{at}" checked>'
        f'<span class="swatch" data-run="{at}"></span>{_safe(run.name)}</label>'
        for at, run in enumerate(data.runs)
    )
    yield (
        f'<div class="tools"><label>{_safe(tr("over"))} <select id="axis">{options}</select>'
        "</label>"
        f'<label><input type="checkbox" id="log">{_safe(tr("log scale"))}</label>'
        f'<label>{_safe(tr("smoothing"))} <input type="range" id="smooth" min="0" max="0.99" '
        'step="0.01" value="0"><span id="smooth-value">0.00</span></label>'
        f'<label><input type="checkbox" id="band" checked>{_safe(tr("lowest to highest"))}</label>'
        f'{shown}<button id="theme">{_safe(tr("light / dark"))}</button></div>'
    )
    hint = tr("Drag over a chart to zoom, double-click to see all of it again.")
    yield f'<p class="faint">{_safe(hint)}</p><div class="charts">'
    for at, metric in enumerate(data.metrics):
        yield (
            f'<div class="chart"><h3>{_safe(tables.title(metric))}<button>{_safe(tr("larger"))}'
            f'</button></h3><div class="plot" data-metric="{at}"></div></div>'
        )
    yield "</div>"


def _timeline(run: ReportedRun, at: int) -> Iterator[str]:
    events = tables.timeline(run)
    mark_of = f'<span class="swatch" data-run="{at}"></span>'
    yield f"<h3>{mark_of}{_safe(run.name)}: {_safe(tables.verdict_text(run.verdict))}</h3>"
    yield _strip(run)
    if events:
        summary = tr("{count} events", count=len(events.rows))
        yield f"<details><summary>{_safe(summary)}</summary>{_table(events)}</details>"


def _strip(run: ReportedRun) -> str:
    """Where along the run alerts, errors and commands were."""
    last = max(run.status.step, run.status.total_steps, 1)
    marks = [(one.step, str(one.level), one.message) for one in run.events]
    marks += [(one["step"], one["severity"], one["what"]) for one in run.alerts]
    ticks = []
    for step, level, message in marks:
        if isinstance(step, int) and 0 <= step <= last:
            colour = _COLOURS.get(str(level), "var(--accent)")
            said = _safe(f"{step}: {translate_message(message)[:300]}")
            x = f"{100 * step / last:.2f}%"
            ticks.append(
                f'<line x1="{x}" x2="{x}" y1="2" y2="20" stroke="{colour}" stroke-width="2">'
                f"<title>{said}</title></line>"
            )
    done = f"{100 * min(run.status.step / last, 1):.2f}%"
    return (
        '<svg class="strip" role="img"><rect x="0" y="9" width="100%" height="4" '
        f'fill="var(--line)"/><rect x="0" y="9" width="{done}" height="4" fill="var(--ok)"/>'
        f"{''.join(ticks)}</svg>"
    )


def _samples(data: ReportData) -> Iterator[str]:
    prompts = dict.fromkeys(prompt for run in data.runs for prompt in run.samples)
    if not prompts:
        return
    yield _heading(tr("Samples over the steps"))
    for prompt in prompts:
        yield f"<details open><summary>{_safe(prompt or tr('no prompt'))}</summary>"
        for at, run in enumerate(data.runs):
            if texts := run.samples.get(prompt):
                yield f'<h3><span class="swatch" data-run="{at}"></span>{_safe(run.name)}</h3>'
            for one in texts or ():
                head = tr("step {step}", step=f"{one.step:,}")
                text = _safe(one.text, newlines=True)
                yield f'<div class="faint">{_safe(head)}</div><div class="sample">{text}</div>'
        yield "</details>"


def _evaluations(data: ReportData) -> Iterator[str]:
    scored = [(run, scores) for run in data.runs if (scores := tables.evaluations(run))]
    if not scored:
        return
    yield _heading(tr("Evaluation"))
    for run, scores in scored:
        yield f"<h3>{_safe(run.name)}</h3>"
        for score in scores:
            yield _bar(score)


def _bar(score: dict[str, Any]) -> str:
    """A score from 0 to 1 as a bar, with its interval and the level of guessing."""
    value, interval, chance = score["value"], score["interval"], score["chance"]
    made = []
    if 0 <= value <= 1:
        made.append(f'<div class="fill" style="width:{100 * value:.2f}%"></div>')
        if interval:
            low, high = (100 * min(max(end, 0.0), 1.0) for end in interval)
            made.append(f'<div class="span" style="left:{low:.2f}%;width:{high - low:.2f}%"></div>')
        if chance is not None and 0 <= chance <= 1:
            guess = _safe(tr("guessing: {share:.0%}", share=chance))
            place = f"left:{100 * chance:.2f}%"
            made.append(f'<div class="chance" style="{place}" title="{guess}"></div>')
    said = number(value)
    if interval:
        said += f" ({number(interval[0])} – {number(interval[1])})"
    return (
        f'<div class="bar"><span>{_safe(score["label"])} <span class="faint">'
        f'{_safe(score["metric"])}</span></span><div class="track">{"".join(made)}</div>'
        f"<span>{_safe(said)}</span></div>"
    )


def _table(table: ReportTable, *, swatches: bool = False) -> str:
    def row(cells: list[str], tag: str, at: int | None) -> str:
        texts = [_safe(cell) for cell in cells]
        if swatches and at is not None:
            texts[0] = f'<span class="swatch" data-run="{at}"></span>{texts[0]}'
        made = (
            f"<{tag}{' class=left' * (column in table.left)}>{text}</{tag}>"
            for column, text in enumerate(texts)
        )
        return f"<tr>{''.join(made)}</tr>"

    rows = "".join(row(cells, "td", at) for at, cells in enumerate(table.rows))
    return f'<div class="scroll"><table>{row(table.head, "th", None)}{rows}</table></div>'


def _script_data(data: ReportData) -> dict[str, Any]:
    return {
        "axis": _first_axis(data),
        "metrics": data.metrics,
        "colours": {
            theme: [shade(name, dark=theme == "dark").line for name in SERIES_COLORS]
            for theme in ("light", "dark")
        },
        "words": {key: tr(name) for key, name in _AXES.items()} | {"range": tr("range")},
        "runs": [
            {
                "name": clean(run.name),
                "curves": run.curves,
                "positions": run.positions,
                # Six a parameter and token, without attention (arXiv 2001.08361).
                "flops_per_token": 6 * run.info.parameters,
            }
            for run in data.runs
        ],
    }


def _first_axis(data: ReportData) -> str:
    """Tokens where a step of one run is not a step of another."""
    a_step = {
        round(run.status.tokens / run.status.step)
        for run in data.runs
        if run.status.step and run.status.tokens
    }
    return "tokens" if len(a_step) > 1 else "step"


def _json(value: Any) -> str:
    """JSON that ends no script element, whatever stands in it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _heading(text: str) -> str:
    return f"<h2>{_safe(text)}</h2>"


def _safe(text: str, *, newlines: bool = False) -> str:
    return escape(clean(text, newlines="keep") if newlines else clean(text))


def _text_of(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    from lmm_tui.report.report_data import collect

    with tempfile.NamedTemporaryFile("w", suffix=".log", buffering=1) as log:
        log.write("step: 1, loss: 3\nstep: 2, loss: 2.5\n")
        page = html_page(collect([Path(log.name)]), "</title><script>")
        assert "</title><script>" not in page and "http://" not in page.replace("www.w3.org", "")
        print(len(page), "bytes")
    print("=== 自测通过 ===")
