"""The ranks of the open run: what each does, whom all wait for, stacks and logs of all of them.

It reads what the supervisor or rank 0 writes once a second, so it works while the ranks hang.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.screens.list_screen import ListScreen, WorkDone
from lmm_tui.cockpit.screens.rank_text_screen import RankTextScreen, log_lines, stack_lines
from lmm_tui.cockpit.widgets.rank_cells import cell_lines
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.cockpit.widgets.styled_line import Part
from lmm_tui.cockpit.widgets.table import Table, TableColumn, TableRow, titled
from lmm_tui.engine.run.rank_records import RankBeat, last_ends
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import NOTHING, duration, size
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs.ranks.folded_logs import fold_logs, read_logs
from lmm_tui.runs.ranks.rank_list import ListedRanks, RankRow, odd_first, read
from lmm_tui.runs.ranks.stack_dump import collect_stacks
from lmm_tui.terminal.safe_text import clean

AS_CELLS = 32
"""More ranks than these are shown as cells, and the odd ones first in the table."""
COLUMNS = (
    TableColumn("rank", mark("rank"), 5, right=True),
    TableColumn("state", mark("state"), 17, grows=True),
    TableColumn("step", mark("step"), 8, right=True),
    TableColumn("step_s", mark("step time"), 9, right=True),
    TableColumn("waited", mark("waited"), 8, right=True),
    TableColumn("data", mark("data wait"), 9, right=True, rank=1),
    TableColumn("memory", mark("memory"), 22, right=True, rank=3),
    TableColumn("node", mark("node"), 12, rank=2, grows=True),
    TableColumn("own", mark("own time"), 9, right=True, rank=4),
    TableColumn("gpu", mark("GPU"), 26, rank=5, grows=True),
    TableColumn("ended", mark("ended"), 5, right=True, rank=6),
)
_QUIET = "$foreground 70%"
_HOT = 85


@dataclass
class RanksRead(Message):
    """A thread has read the files of the ranks; None for a run of one process."""

    group: ListedRanks | None


@dataclass
class TextReady(Message):
    """A page about all ranks, such as their stacks."""

    title: str
    lines: list[Content]


class RanksScreen(ListScreen):
    """Of `run`."""

    PLACE = "ranks"
    LOOK_EVERY_S = 1.0
    BINDINGS = bindings("ranks")
    DEFAULT_CSS = """
    RanksScreen #group { height: auto; padding: 0 0 1 0; }
    """

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self._run = run
        self._group: ListedRanks | None = None

    def compose_body(self) -> ComposeResult:
        yield Static(id="group")
        yield Table(titled(COLUMNS), tr("Reading …"))
        yield from super().compose_body()

    def look(self) -> None:
        self.in_background("ranks", lambda: RanksRead(read(self._run)))

    def on_ranks_read(self, message: RanksRead) -> None:
        self._group = message.group
        self._show()

    def on_resize(self) -> None:
        super().on_resize()
        self._show()

    def _show(self) -> None:
        group = self._group
        if group is None:
            empty = tr("This run has one process.\n--ranks N starts N of them.")
            self.query_one(Table).show([], empty=empty)
            return
        many = len(group.rows) > AS_CELLS
        rows = odd_first(group.rows) if many else group.rows
        self.query_one(Table).show([_row(row) for row in rows], empty=tr("No rank has begun yet."))
        lines = _heading(group)
        if many:
            dark = self.app.current_theme.dark
            lines += [Content(), *cell_lines(group.rows, self.size.width, dark=dark)]
        self.query_one("#group", Static).update(Content("\n").join(lines))
        ranks = tr("{count} ranks", count=len(group.rows))
        self.query_one(ScreenTabs).show(ranks, subject=self._run.name)
        self.show_detail()

    def detail(self) -> Sequence[Content]:
        row = self._chosen()
        if row is None:
            return []
        return [Content.styled(clean(line), _QUIET) for line in _detail(row, self._run)]

    def _chosen(self) -> RankRow | None:
        cursor = self.query_one(Table).cursor
        if self._group is None or cursor is None:
            return None
        return next((row for row in self._group.rows if str(row.rank) == cursor), None)

    # Keys

    def action_stacks(self) -> None:
        title = tr("stacks of all ranks")

        def work() -> Message:
            return TextReady(title, stack_lines(collect_stacks(self._run)))

        if self.in_background("stacks", work, refused=lambda why: WorkDone(title, why, ok=False)):
            self.toast(tr("Asking all ranks for their stacks …"), "ranks")

    def action_logs(self) -> None:
        title = tr("logs of all ranks")
        attempt = self._group.table.attempt if self._group else 0

        def work() -> Message:
            return TextReady(title, log_lines(fold_logs(read_logs(self._run, attempt))))

        self.in_background("logs", work, refused=lambda why: WorkDone(title, why, ok=False))

    @on(TextReady)
    def _open_text(self, message: TextReady) -> None:
        self.app.push_screen(RankTextScreen(message.title, message.lines))


def _heading(group: ListedRanks) -> list[Content]:
    facts = [tr("{count} ranks", count=len(group.rows))]
    if group.nodes > 1:
        facts.append(tr("{count} nodes", count=group.nodes))
    facts.append(tr("step {step:,}", step=group.step))
    if group.step_s is not None:
        facts.append(tr("{time} a step", time=_time(group.step_s)))
    supervisor = group.supervisor
    if supervisor is not None and supervisor.restarting:
        facts.append(tr("restarting {count}", count=supervisor.restarting))
    elif supervisor is not None and supervisor.restarts:
        used, most = supervisor.attempt, supervisor.restarts
        facts.append(tr("{used} of {most} restarts used", used=used, most=most))
    lines: list[Content] = [Content.styled(f"  {' · '.join(facts)}", "$foreground 80%")]
    if group.table.hang:
        hang = clean(translate_message(group.table.hang))
        lines.append(Content.styled(f"  ! {hang}", "bold $error"))
    elif supervisor is not None and supervisor.ends:
        last = clean(translate_message(last_ends(supervisor)[0].sentence))
        lines.append(Content.styled(f"  {tr('last end: {what}', what=last)}", "$warning"))
    return lines


def _row(row: RankRow) -> TableRow:
    beat = row.beat
    red = row.holds_up or row.end is not None
    style = "bold $error" if red else "$warning" if row.sign in "?-" else ""
    cells: dict[str, str | Part] = {
        "rank": (str(row.rank), style),
        "state": (row.state(), style),
        "ended": str(row.ended) if row.ended else "",
    }
    if beat is not None:
        full = (beat.memory_share or 0) > 0.95
        cells |= {
            "node": beat.node,
            "step": f"{beat.step:,}",
            "step_s": _time(beat.step_s),
            "own": (_time(beat.own_s), "bold $warning" if row.slow else ""),
            "waited": _time(beat.waited_s),
            "data": _time(beat.data_s),
            "memory": (_memory(beat), "$error" if full else ""),
            "gpu": _gpu(row),
        }
    return TableRow(str(row.rank), cells)


def _gpu(row: RankRow) -> str | Part:
    beat = row.beat
    if beat is None or beat.celsius is None:
        return ""
    clock = "" if beat.clock is None else f"{beat.clock:.0f} MHz"
    parts = [f"{beat.celsius:.0f} °C", clock, *map(tr, beat.throttle)]
    style = "$error" if beat.throttle or beat.celsius > _HOT else ""
    return ", ".join(filter(None, parts)), style


def _detail(row: RankRow, run: RunDir) -> list[str]:
    lines = []
    if row.end is not None:
        lines.append(translate_message(row.end.sentence))
    if (beat := row.beat) is not None:
        parts = [tr("rank {rank}", rank=row.rank), tr("pid {pid} on {host}", pid=beat.pid,
                                                      host=beat.node)]  # fmt: skip
        if row.slowness is not None:
            parts.append(tr("{times:.2f} × the median step time", times=row.slowness))
        if beat.checksum:
            at = tr("step {step:,}", step=beat.checksum_step)
            parts.append(tr("checksum {sum} at {step}", sum=beat.checksum, step=at))
        lines.append(" · ".join(parts))
    return lines


def _time(seconds: float | None) -> str:
    """`12 ms`, `0.41 s`, `1 min 5 s`."""
    if seconds is None:
        return NOTHING
    if seconds < 0.1:
        return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 60 else duration(seconds)


def _memory(beat: RankBeat) -> str:
    """`GPU 21.0 GB / 80.0 GB`; RAM is that of the process."""
    if beat.memory is None:
        return NOTHING
    of = {"": "", "host": "RAM "}.get(beat.memory_of, "GPU ")
    limit = f" / {size(beat.memory_limit)}" if beat.memory_limit else ""
    return f"{of}{size(beat.memory)}{limit}"


if __name__ == "__main__":
    beat = RankBeat(0, memory=1 << 30, memory_limit=80 << 30, memory_of="cuda")
    print(_time(0.0123), _time(0.4), _memory(beat))
    print("=== 自测通过 ===")
