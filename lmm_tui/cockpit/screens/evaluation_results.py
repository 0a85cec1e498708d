"""What evaluations have measured: scores with error bars, their history over the steps of the run,
the other runs of the folder beside it; above them how far a running evaluation is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from lmm_tui.charts.braille import glyphs_for
from lmm_tui.charts.chart import Chart, Trace
from lmm_tui.cockpit.score_table import QUIET, Asked, run_lines, score_lines, scores_by_question
from lmm_tui.engine.evaluation.job import EvaluationProgress
from lmm_tui.engine.evaluation.missed_questions import MissedQuestion
from lmm_tui.engine.evaluation.records import Record
from lmm_tui.i18n.language import mark, tr
from lmm_tui.metrics.series.series import SeriesStore
from lmm_tui.runs.status_text import duration
from lmm_tui.terminal.safe_text import clean, fit

_VIEWS = (mark("scores"), mark("history"), mark("all runs"))
_SCORES, _HISTORY, _ALL_RUNS = range(3)
_LONGEST_BAR, _SHORTEST_BAR = 20, 6
_NEWEST = 3
"""Parts that an evaluation has on the page: the newest shows what was answered wrongly."""
_TASK, _LEAST_QUESTION = 14, 20


class EvaluationResults(Vertical):
    """The results of the run called `run`; call `show_records` as often as you like."""

    def __init__(self, run: str, id: str | None = None) -> None:
        super().__init__(id=id)
        self._run = run
        self._runs: Mapping[str, Sequence[Record]] = {}
        self._saved = False
        self._view = _SCORES
        self._asked: Asked | None = None
        self._drawn: Asked | None = None
        self._scoring = ""
        self._expected = ""
        self._progress: EvaluationProgress | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="state")
        yield Static(id="views")
        with VerticalScroll(id="page"):
            yield Static(id="scores")
        yield Container(id="history")

    @property
    def _records(self) -> Sequence[Record]:
        return self._runs.get(self._run, ())

    def show_records(self, runs: Mapping[str, Sequence[Record]], *, saved: bool) -> None:
        """Show the records of all runs by name; `saved`: whether there is a checkpoint to score."""
        self._runs, self._saved = runs, saved
        self._show()

    def expect(self, what: str) -> None:
        """Say what an evaluation would take, while none is running."""
        self._expected = what
        self.show_progress(self._scoring, self._progress)

    def show_progress(self, running: str, at: EvaluationProgress | None = None) -> None:
        """Show how far the evaluation of `running` is; of an empty name there is none."""
        self._scoring, self._progress = running, at
        width = self.query_one("#state").content_size.width
        line = _state_line(running, at, width) if running else _idle_line(self._expected, width)
        self.query_one("#state", Static).update(line)

    def turn(self, by: int) -> None:
        self.open_view((self._view + by) % len(_VIEWS))

    def open_view(self, number: int) -> None:
        self._view = number
        self._show()

    def next_metric(self, by: int) -> None:
        """Show another kind of score, on a page of one kind."""
        kinds = [*scores_by_question(self._records)]
        if kinds:
            at = kinds.index(self._asked) if self._asked in kinds else -1
            self._asked = kinds[(at + by) % len(kinds)]
            self.open_view(self._view or _HISTORY)

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        self.show_progress(self._scoring, self._progress)
        self._show_views()
        self._show_page()

    def _show_views(self) -> None:
        parts = [
            Content.from_markup(
                f"[@click=screen.view({number})]"
                f"[{'bold $accent' if number == self._view else '$foreground 70%'}]"
                "$title[/][/]   ",
                title=tr(title),
            )
            for number, title in enumerate(_VIEWS)
        ]
        self.query_one("#views", Static).update(Content.assemble(*parts))

    def _show_page(self) -> None:
        kinds = scores_by_question(self._records)
        if self._asked not in kinds:
            self._asked = next(iter(kinds), None)
        history = self._view == _HISTORY and self._asked is not None
        self.query_one("#page").display = not history
        self.query_one("#history").display = history
        if self._asked is None:
            self.query_one("#scores", Static).update(_empty_text(saved=self._saved))
        elif history:
            self._draw_history(self._asked)
        else:
            # With room for a scroll bar; the page itself is 0 wide until it is displayed again.
            width = max(self.content_size.width - 3, 20)
            if self._view == _ALL_RUNS:
                text = Content.assemble(
                    (f"{clean(self._asked.words)}\n\n", "bold"),
                    run_lines(self._asked, self._runs, self._run, width, glyphs_for()),
                )
            else:
                text = _all_scores(self._records, width)
            self.query_one("#scores", Static).update(text)

    def _draw_history(self, asked: Asked) -> None:
        measured = scores_by_question(self._records)[asked]
        store = SeriesStore()
        for record, score in measured:
            low, high = score.interval or (score.value, score.value)
            store.append(
                {
                    "step": record.step or 0,
                    "score": score.value,
                    "low": low,
                    "high": high,
                }
            )
        history = self.query_one("#history")
        if asked != self._drawn:
            self._drawn = asked
            history.remove_children()
            history.mount(_history_chart(asked, measured[-1][1].chance))
        history.query(Chart).last().update_from(store)


def _state_line(running: str, at: EvaluationProgress | None, width: int) -> Content:
    """A bar with answers done and time left, as far as there is room."""
    name = f"{running}  "
    if at is None or not at.total:
        return Content.assemble((name, "bold"), tr("starting lm-eval …"))
    known = f" · {tr('{count} known', count=at.remembered)}" if at.remembered else ""
    facts = "  " + tr("{done}/{total} answers", done=at.done, total=at.total)
    if at.eta_s is not None:
        facts += f" · {tr('{time} left', time=duration(at.eta_s))}"
    room = width - cell_len(name) - cell_len(facts)
    if room - cell_len(known) >= _SHORTEST_BAR:
        room, facts = room - cell_len(known), facts + known
    bar = max(min(room, _LONGEST_BAR), _SHORTEST_BAR)
    full = round(bar * at.done / at.total)
    return Content.assemble(
        (name, "bold"), ("━" * full, "$accent"), ("─" * (bar - full), "$panel"), facts
    )


def _idle_line(expected: str, width: int) -> Content:
    """What an evaluation would take; the keys, which stand below as well, where there is room."""
    line = Content.assemble((tr("v evaluate"), QUIET), f": {expected}" if expected else "")
    keys = f" · {tr('enter change setting · ] switch view')}"
    if line.cell_length + cell_len(keys) <= width:
        line = Content.assemble(line, (keys, QUIET))
    return line.truncate(max(width, 1), ellipsis=True)


def _all_scores(records: Sequence[Record], width: int) -> Content:
    """Every evaluation of the run, the newest first."""
    parts: list[Content] = []
    for record in sorted(records, key=lambda record: -record.time):
        limit = tr("all questions")
        if record.job.limit:
            limit = tr("first {count}", count=record.job.limit)
        ago = tr("{time} ago", time=duration(max(time.time() - record.time, 0)))
        backend = tr("built-in") if record.job.backend == "run" else "transformers"
        facts = f"  {limit} · {backend} · {ago}"
        step = tr("step {step:,}", step=record.step or 0)
        parts += [
            Content.assemble((step, "bold $accent"), (facts, QUIET)),
            score_lines(record, width, glyphs_for()),
            Content(),
        ]
        if record.outcome.missed and len(parts) <= _NEWEST:
            parts += [*_missed_lines(record.outcome.missed, width), Content()]
    return Content("\n").join(parts)


def _missed_lines(missed: Sequence[MissedQuestion], width: int) -> list[Content]:
    """The questions that were answered wrongly, one a line: asked, given, expected."""
    lines = [Content.styled(tr("wrong answers (the first ones of each task)"), "bold")]
    for one in missed:
        asked = clean(one.question).rstrip()
        most = max(width // 2 - cell_len(one.expected) - 12, _LEAST_QUESTION)
        answer = clean(one.given).rstrip() or "–"
        given = tr(
            "{given}, expected {expected}",
            given=fit(answer, min(cell_len(answer), most)),
            expected=clean(one.expected),
        )
        room = max(width - cell_len(given) - _TASK - 8, _LEAST_QUESTION)
        if cell_len(asked) > room:
            asked = "…" + asked[-room + 1 :]
        line = Content.assemble(
            ("✗ ", "$text-error"), (fit(clean(one.task), _TASK), QUIET), f" {asked}",
            ("  → ", QUIET), (given, "$text-warning"),
        )  # fmt: skip
        lines.append(line.truncate(width, ellipsis=True))
    return lines


def _history_chart(asked: Asked, chance: float | None) -> Chart:
    traces = [
        Trace("low", tr("95 % low"), "grey", "line"),
        Trace("high", tr("95 % high"), "grey", "line"),
        Trace("score", tr("score"), "blue", "marks"),
    ]
    references = {} if chance is None else {tr("random baseline"): chance}
    return Chart(asked.words, traces, references=references)


def _empty_text(*, saved: bool) -> Content:
    first = (
        tr("No scores yet. Press v to evaluate this checkpoint.")
        if saved
        else tr("No checkpoint yet. Press c on the dashboard of a live run to save one.")
    )
    more = tr("lm-eval scores it in a worker process; results are kept in evals/ of the run.")
    return Content.assemble(f"{first}\n", (more, QUIET))


if __name__ == "__main__":
    print(line := _state_line("step 200", EvaluationProgress(12, 40, 8, 75.0), 60))
    assert "12/40" in line.plain and line.cell_length <= 60
    print("=== 自测通过 ===")
