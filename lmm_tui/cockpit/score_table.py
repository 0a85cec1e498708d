"""Scores of evaluations as styled text: a table of one evaluation, and one that compares runs.

Error bars show the 95 % interval on a scale from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content

from lmm_tui.charts.braille import ASCII, GlyphSet
from lmm_tui.engine.evaluation.job import Score
from lmm_tui.engine.evaluation.records import Record
from lmm_tui.engine.evaluation.report import interval_text
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import number
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.terminal.safe_text import clean, fit, right

QUIET = "$foreground 60%"


@dataclass(frozen=True)
class Asked:
    """A benchmark and its settings: scores of equal ones can be compared."""

    task: str
    metric: str
    questions: int
    shots: int | None
    chat: bool
    data_dir: str | None

    @classmethod
    def of(cls, record: Record, score: Score) -> Asked:
        return cls(
            score.task,
            score.metric,
            score.questions,
            score.num_fewshot,
            record.job.chat,
            record.job.data_dir,
        )

    @property
    def words(self) -> str:
        """Its label on the screen."""
        facts = [tr("{count} questions", count=self.questions)]
        facts += [tr("{count} shots", count=self.shots)] if self.shots else []
        facts += [tr("chat")] if self.chat else []
        return f"{self.task} {self.metric} ({tr(', ').join(facts)})"


def scores_by_question(records: Sequence[Record]) -> dict[Asked, list[tuple[Record, Score]]]:
    """The scores of each benchmark, in the order of the records."""
    found: dict[Asked, list[tuple[Record, Score]]] = {}
    for record in records:
        for score in record.outcome.scores:
            found.setdefault(Asked.of(record, score), []).append((record, score))
    return found


def score_lines(record: Record, width: int, glyphs: GlyphSet) -> Content:
    """One evaluation: a line for each score, with value, error bar, chance and questions."""
    baseline = 15 if width >= 90 else 7
    names = [clean(f"{score.task} {score.metric}") for score in record.outcome.scores]
    wanted = min(max(map(cell_len, names), default=12), 40)
    room = width - 32 - baseline - wanted
    bar = min(max(room, 0), 40) if room >= 12 else 0
    name = max(min(width - 30 - baseline - (bar + 2 if bar else 0), wanted), 12)
    guess = tr("random baseline") if baseline > 7 else tr("random")
    head = f"{fit(tr('task'), name)} {right(tr('value'), 6)} {'95 %':>11} "
    head += f" {'0' + '1'.rjust(bar - 1)} " if bar else ""
    lines = [Content.styled(f"{head}{right(guess, baseline)} {right(tr('n'), 6)}", QUIET)]
    for shown, score in zip(names, record.outcome.scores, strict=True):
        lowest = score.interval[0] if score.interval else score.value
        better = score.chance is not None and lowest > score.chance
        parts: list[tuple[str, str]] = [
            (fit(shown, name), ""),
            (f" {number(score.value):>6}", "bold $success" if better else "bold"),
            (f" {interval_text(score):>11} ", QUIET),
        ]
        if bar:
            parts.append((f" {interval(score, bar, glyphs)} ", "$accent"))
        parts.append((f"{number(score.chance):>{baseline}} {score.questions:>6}", QUIET))
        lines.append(Content.assemble(*parts))
    if record.outcome.truncated:
        cut = tr(
            "{count} prompts exceeded the context and were truncated at the start",
            count=record.outcome.truncated,
        )
        lines.append(Content.styled(cut, "$warning"))
    lines += [
        Content.styled(clean(translate_message(note)), "$warning") for note in record.outcome.notes
    ]
    return Content("\n").join(lines)


def run_lines(
    asked: Asked, runs: Mapping[str, Sequence[Record]], own: str, width: int, glyphs: GlyphSet
) -> Content:
    """The last score of each run on the same benchmark, the highest first."""
    rows: list[tuple[str, Record, Score]] = []
    for name, records in runs.items():
        if measured := scores_by_question(records).get(asked):
            rows.append((name, *measured[-1]))
    rows.sort(key=lambda row: -row[2].value)
    bar = min(max(width - 52, 0), 40) if width >= 64 else 0
    name_width = max(min(width - 32 - (bar + 2 if bar else 0), 30), 12)
    head = f"{fit(tr('run'), name_width)} {right(tr('step'), 9)} {right(tr('value'), 6)} "
    head += f"{'95 %':>11} "
    head += f" {'0' + '1'.rjust(bar - 1)} " if bar else ""
    lines = [Content.styled(head, QUIET)]
    for name, record, score in rows:
        parts: list[tuple[str, str]] = [
            (fit(clean(name), name_width), "bold $accent" if name == own else ""),
            (f" {record.step or 0:>9,}", QUIET),
            (f" {number(score.value):>6}", "bold"),
            (f" {interval_text(score):>11} ", QUIET),
        ]
        if bar:
            parts.append((f" {interval(score, bar, glyphs)} ", "$accent"))
        lines.append(Content.assemble(*parts))
    if len(rows) < 2:
        lines.append(Content.styled(tr("no other run has this evaluation"), QUIET))
    return Content("\n").join(lines)


def interval(score: Score, width: int, glyphs: GlyphSet) -> str:
    """`··┊··├──●──┤···`: value, 95 % interval and chance from 0 to 1; blank outside."""
    if not 0 <= score.value <= 1:
        return " " * width
    empty, line, low, high, dot, chance = ".-[]o|" if glyphs is ASCII else "·─├┤●┊"

    def cell(value: float) -> int:
        return max(0, min(round(value * (width - 1)), width - 1))

    cells = [empty] * width
    if score.chance is not None:
        cells[cell(score.chance)] = chance
    if score.interval is not None:
        first, last = map(cell, score.interval)
        cells[first : last + 1] = line * (last + 1 - first)
        cells[first], cells[last] = low, high
    cells[cell(score.value)] = dot
    return "".join(cells)


if __name__ == "__main__":
    from lmm_tui.charts.braille import BRAILLE

    score = Score("lmm_choice", "acc", 0.5, 0.1, 0.25, 26, 0)
    print(interval(score, 21, BRAILLE), interval(score, 11, ASCII))
    print("=== 自测通过 ===")
