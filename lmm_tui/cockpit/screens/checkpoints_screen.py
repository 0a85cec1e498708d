"""The list of the checkpoints of the open run.

The folder is read in a thread, without any tensor. What can be done to a checkpoint is in
`checkpoint_actions`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message

from lmm_tui.cockpit.keys import bindings
from lmm_tui.cockpit.screens.checkpoint_actions import CheckpointActions
from lmm_tui.cockpit.widgets.screen_tabs import ScreenTabs
from lmm_tui.cockpit.widgets.table import Table, TableColumn, TableRow, titled
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunInfo
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import figure, size
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs.checkpoint_list import CheckpointList, ListedCheckpoint, best_of
from lmm_tui.runs.fleets import has_mirrors
from lmm_tui.runs.run_list import ListedRun
from lmm_tui.runs.status_text import NOTHING, RunSummary, count, duration
from lmm_tui.terminal.safe_text import clean

COLUMNS = (
    TableColumn("step", mark("step"), 11, right=True),
    TableColumn("val", mark("val loss"), 14, right=True),
    TableColumn("loss", mark("loss"), 7, right=True, rank=3),
    TableColumn("tokens", mark("tokens"), 7, right=True, rank=4),
    TableColumn("size", mark("size"), 8, right=True, rank=1),
    TableColumn("age", mark("age"), 12, right=True, rank=2),
    TableColumn("kept", mark("retention"), 12, grows=True),
    TableColumn("parts", mark("contents"), 26, grows=True, rank=5),
)
_QUIET = "$foreground 70%"


@dataclass
class CheckpointsRead(Message):
    """A thread has read the folder, and how the run is; no run where it has gone."""

    checkpoints: tuple[ListedCheckpoint, ...]
    run: ListedRun | None


class CheckpointsScreen(CheckpointActions):
    """The checkpoints of `run`."""

    PLACE = "checkpoints"
    BINDINGS = bindings("checkpoints")

    def __init__(self, run: RunDir) -> None:
        super().__init__(run)
        self._list = CheckpointList(run)
        self._checkpoints: tuple[ListedCheckpoint, ...] = ()
        self._live = False
        self._info: RunInfo | None = None

    def compose_body(self) -> ComposeResult:
        yield Table(titled(COLUMNS), tr("Reading …"))
        yield from super().compose_body()

    def look(self) -> None:
        self.in_background("checkpoints", self._read)
        self.collect_evaluations()

    def _read(self) -> CheckpointsRead:
        try:
            run = ListedRun(RunSummary.of(Reader(self._run.path)))
        except LmmError:
            run = None
        return CheckpointsRead(self._list.read(), run)

    def on_checkpoints_read(self, message: CheckpointsRead) -> None:
        self._checkpoints = message.checkpoints
        self._live = message.run is not None and message.run.live
        if message.run is not None:
            self._info = message.run.summary.info
        self._show()

    # What is shown

    def _show(self) -> None:
        best = best_of(self._checkpoints)
        now = time.time()
        rows = [self._row(one, one is best, now) for one in self._checkpoints]
        self.query_one(Table).show(rows, empty=self._empty_text())
        total = sum(one.bytes for one in self._checkpoints)
        many = tr("1 checkpoint") if len(rows) == 1 else tr("{count} checkpoints", count=len(rows))
        self.query_one(ScreenTabs).show(f"{many} · {size(total)}", subject=self._run.name)
        self.show_detail()

    def _empty_text(self) -> str:
        if has_mirrors(self._run.path.parent):
            return tr("Checkpoints stay on the machine of the run.\nUse lmm-tui there.")
        if self._live:
            return tr("No checkpoint yet.\nPress c on the dashboard to save one.")
        return tr("No checkpoint was saved in this run.\n2 lists all runs.")

    @staticmethod
    def _row(one: ListedCheckpoint, best: bool, now: float) -> TableRow:
        kept = tr(", ").join(map(tr, one.kept)) or tr("not kept")
        return TableRow(
            one.path.name,
            {
                "step": f"{one.step:,}",
                "val": _val_cell(one, best),
                "loss": _loss(one.loss),
                "tokens": count(one.tokens) if one.tokens else NOTHING,
                "size": size(one.bytes),
                "age": (duration(now - one.written), _QUIET),
                "kept": (tr("damaged"), "$error") if one.trouble else (kept, ""),
                "parts": (tr(", ").join(map(tr, one.parts)), _QUIET),
            },
            one.pinned,
        )

    def detail(self) -> list[Content]:
        one = self.checkpoint_under_cursor()
        if one is None:
            return []
        holds = tr(", ").join(map(tr, one.parts)) or tr("unknown files")
        last = Content.styled(tr("● pinned: never removed") if one.pinned else "", _QUIET)
        if one.trouble:
            last = Content.styled(clean(translate_message(one.trouble)), "$error")
        return [
            Content.assemble((one.path.name, "bold"), (f"  {holds}", _QUIET)),
            Content.styled(clean(str(one.path)), _QUIET),
            last,
        ]

    def preview(self) -> tuple[Path, RunInfo, tuple[int, ...]] | None:
        if self._info is None:
            return None
        return self._run.path, self._info, tuple(one.step for one in self._checkpoints)

    def is_last_of_live_run(self) -> bool:
        return self._live and len(self._checkpoints) == 1

    def checkpoint_under_cursor(self) -> ListedCheckpoint | None:
        key = self.query_one(Table).cursor
        return next((one for one in self._checkpoints if one.path.name == key), None)


def _loss(value: float | None) -> str:
    return NOTHING if value is None else figure(value)


def _val_cell(one: ListedCheckpoint, best: bool) -> tuple[str, str]:
    """A loss of another step says so, as `5.196 @50`."""
    text = _loss(one.val_loss)
    if one.borrowed:
        return f"{text} @{one.val_step:,}", _QUIET
    return text, "bold $success" if best else ""


if __name__ == "__main__":
    from pathlib import Path

    path, parts = Path("step-000000020"), ("weights",)
    one = ListedCheckpoint(path, 20, 1280, 2.7, 2.5, 20, 3_141_592, 0.0, parts, ("best",))
    print(CheckpointsScreen._row(one, True, 75.0))
    print("=== 自测通过 ===")
