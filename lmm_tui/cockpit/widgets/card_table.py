"""Many GPUs as a table: a line each, with the past of its utilisation.

Columns that have no room are left out, the least telling first; why a clock is held down stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from textual.content import Content

from lmm_tui.charts.sparkline import spark
from lmm_tui.cockpit.widgets.history_graph import QUIET, heat, load
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import NOTHING, size
from lmm_tui.runs.gpu_cards import Card
from lmm_tui.terminal.safe_text import clean, fit, right

_LEAST_PAST, _MOST_PAST = 8, 60
_NUMBER, _BUSY, _REASON = 4, 6, 13

Pids = frozenset[int]


@dataclass(frozen=True)
class _Column:
    heading: str
    width: int
    text: Callable[[Card, Pids], str]
    rank: int
    """The highest is left out first."""


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0%}"


def _size(value: int | None) -> str:
    return NOTHING if value is None else size(value)


def _measured(value: float | None, unit: str) -> str:
    return NOTHING if value is None else f"{value:,.0f} {unit}"


_COLUMNS = (
    _Column(mark("GPU mem"), 8, lambda card, run: _share(card.memory_share), 0),
    _Column(mark("used"), 9, lambda card, run: _size(card.memory_used), 5),
    _Column(mark("this run"), 10, lambda card, run: _size(card.memory_of(run)), 3),
    _Column(mark("temp."), 7, lambda card, run: _measured(card.celsius, "°C"), 1),
    _Column(mark("power"), 7, lambda card, run: _measured(card.watts, "W"), 2),
    _Column(mark("clock"), 11, lambda card, run: _measured(card.clock, "MHz"), 4),
)


def card_table(
    cards: Sequence[Card], past: Mapping[str, Sequence[float | None]], run: Pids, width: int
) -> list[Content]:
    """Names, headings and a line a card, of at most `width` cells; `run`: processes of the run."""
    held_down = any(card.throttle for card in cards)
    rest = width - _NUMBER - _BUSY - 1 - (_REASON + 2 if held_down else 0)
    columns = list(_COLUMNS)
    while columns and rest - sum(column.width for column in columns) < _LEAST_PAST:
        columns.remove(max(columns, key=lambda column: column.rank))
    room = max(min(rest - sum(column.width for column in columns), _MOST_PAST), 0)
    head = f"{fit('GPU', _NUMBER)}{right(tr('busy'), _BUSY)} {' ' * room}"
    head += "".join(right(tr(column.heading), column.width) for column in columns)
    head += f"  {tr('throttled')}" if held_down else ""
    lines = [Content(_names(cards)), Content.styled(head, QUIET)]
    for index, card in enumerate(cards):
        seen = [np.nan if value is None else value for value in past.get(f"gpu{index}", ())]
        parts: list[Content | tuple[str, str]] = [
            (fit(str(index), _NUMBER), QUIET),
            (right(_share(card.busy), _BUSY), load(card.busy)),
            (
                f" {spark(np.array(seen[-room:] if room else []), room, (0, 1)).rjust(room)}",
                "$accent",
            ),
        ]
        for column in columns:
            style = heat(card.memory_share) if column.rank == 0 else ""
            parts.append((right(column.text(card, run), column.width), style))
        reasons = ", ".join(tr(reason) for reason in card.throttle)
        parts.append((f"  {fit(reasons, _REASON).rstrip()}" if reasons else "", "$warning"))
        lines.append(Content.assemble(*parts))
    return [line.truncate(width, ellipsis=True) for line in lines]


def numbers(cards: Sequence[int]) -> str:
    """GPUs of a process: `0 2-5`."""
    spans: list[list[int]] = []
    for number in sorted(cards):
        if spans and number == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], number]
        else:
            spans.append([number])
    return " ".join("-".join(map(str, span)) for span in spans)


def _names(cards: Sequence[Card]) -> str:
    """How many there are of each, and how much memory one has."""
    kinds: dict[str, int] = {}
    for card in cards:
        memory = f", {size(card.memory_total)}" if card.memory_total else ""
        kinds[clean(card.name) + memory] = kinds.get(clean(card.name) + memory, 0) + 1
    return " · ".join(f"{count} × {kind}" for kind, count in kinds.items())


if __name__ == "__main__":
    demo = [Card("demo", at / 16, 38 * 10**9, 141 * 10**9, 61, 480, 700, 1700) for at in range(16)]
    for line in card_table(demo, {"gpu3": [0.1, 0.5, 0.9]}, frozenset(), 78):
        print(line.plain)
        assert line.cell_length <= 78
    assert numbers([5, 0, 2, 3, 4]) == "0 2-5"
    print("=== 自测通过 ===")
