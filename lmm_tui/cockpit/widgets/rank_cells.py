"""Hundreds of ranks as cells: a character and a colour a rank, a block of lines a measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len
from textual.content import Content

from lmm_tui.i18n.language import mark, tr
from lmm_tui.metrics.drawing.palette import ramp
from lmm_tui.runs.ranks.rank_list import RankRow
from lmm_tui.terminal.safe_text import fit

_LEVELS = "░▒▓█"
_WIDEST = 3
_SIGN_STYLES = {"!": "bold $error", "x": "bold $error", "?": "bold $warning", "-": "$warning"}

Measure = Callable[[RankRow], float | None]


def _seconds(name: str) -> Measure:
    """A time of the last step as a share of the whole step."""

    def share(row: RankRow) -> float | None:
        if row.beat is None or not row.beat.step_s:
            return None
        part: float | None = getattr(row.beat, name)
        return None if part is None else min(part / row.beat.step_s, 1.0)

    return share


_MEASURES: tuple[tuple[str, Measure], ...] = (
    # From the median on: half a step more is the top of the scale.
    (mark("own time"), lambda row: None if row.slowness is None
     else min(max(row.slowness - 1.0, 0.0) / 0.5, 1.0)),
    (mark("waited"), _seconds("waited_s")),
    (mark("data wait"), _seconds("data_s")),
    (mark("memory"), lambda row: row.beat.memory_share if row.beat else None),
    (mark("temperature"), lambda row: None if row.beat is None or row.beat.celsius is None
     else min(max(row.beat.celsius - 30, 0) / 70, 1.0)),
)  # fmt: skip


def cell_lines(rows: Sequence[RankRow], width: int, *, dark: bool) -> list[Content]:
    """The state of every rank, then its measurements from low to high, as far as known."""
    label = 2 + max(cell_len(tr(name)) for name, _ in _MEASURES)
    room = max(width - label - 2, 8)
    cell = max(min(room // max(len(rows), 1), _WIDEST), 1)
    per_line = room // cell
    lines: list[Content] = []
    signs = [(row.sign, _SIGN_STYLES.get(row.sign, "$foreground 70%")) for row in rows]
    lines += _block(tr("state"), signs, label, cell, per_line)
    colours = ramp(dark=dark)
    for name, measure in _MEASURES:
        shares = [measure(row) for row in rows]
        if any(share is not None for share in shares):
            cells = [_shaded(share, colours) for share in shares]
            lines += _block(tr(name), cells, label, cell, per_line)
    return lines


def _shaded(share: float | None, colours: Sequence[str]) -> tuple[str, str]:
    if share is None:
        return " ", ""
    level = min(int(share * len(_LEVELS)), len(_LEVELS) - 1)
    # The darkest colours are those of the ground.
    index = 2 + int(share * (len(colours) - 3))
    return _LEVELS[level], colours[index]


def _block(
    name: str, cells: Sequence[tuple[str, str]], label: int, width: int, per_line: int
) -> list[Content]:
    lines = []
    for start in range(0, len(cells), per_line):
        part = cells[start : start + per_line]
        head = fit(name if not start else "", label)
        drawn = [(text * width, style) for text, style in part]
        lines.append(Content.assemble("  ", (head, "$foreground 70%"), *drawn))
    return lines


if __name__ == "__main__":
    from lmm_tui.engine.run.rank_records import RankBeat

    demo = [
        RankRow(rank, RankBeat(rank, step_s=1.0, waited_s=rank / 64), slowness=1.0)
        for rank in range(64)
    ]
    for line in cell_lines(demo, 80, dark=True):
        print(line)
        assert line.cell_length <= 80
    print("=== 自测通过 ===")
