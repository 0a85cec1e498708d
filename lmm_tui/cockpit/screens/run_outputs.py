"""What is made of runs in their list: a comparison, a report, pictures and tables in files.

Files are written by `lmm-tui` in a worker process, so that no training feels it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lmm_tui.cockpit.screens.dialogs import AskDialog, Choice, ChoiceDialog
from lmm_tui.cockpit.screens.run_actions import RunActions
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import free_path
from lmm_tui.i18n.language import mark, tr
from lmm_tui.runs.run_columns import RunColumns
from lmm_tui.runs.run_details import RunDetails
from lmm_tui.runs.run_list import ListedRun
from lmm_tui.runs.worker_process import run_in_worker


@dataclass(frozen=True)
class _Output:
    """A file that `command` writes of runs; for each run one, in a folder, if `each`."""

    choice: Choice
    command: tuple[str, ...]
    name: str
    each: bool = False

    def write(self, runs: Sequence[Path], target: Path) -> str:
        if not self.each:
            return run_in_worker([*self.command, *map(str, runs), "-o", str(target)], niceness=10)
        target.mkdir(parents=True, exist_ok=True)
        for run in runs:
            file = target / f"{run.name}.csv"
            run_in_worker([*self.command, str(run), "-o", str(file)], niceness=10)
        return str(target)


_ALL = (
    _Output(Choice("html", "h", mark("Report for a browser (HTML)")), ("report",), "report.html"),
    _Output(Choice("md", "m", mark("Report as Markdown")), ("report",), "report.md"),
    _Output(
        Choice("png", "p", mark("Curves and settings compared (PNG)")),
        ("compare",),
        "comparison.png",
    ),
    _Output(
        Choice("csv", "c", mark("Metrics as CSV, a file a run")),
        ("export", "--to", "csv"),
        "curves",
        each=True,
    ),
)
_OUTPUTS = {output.choice.id: output for output in _ALL}


class RunOutputs(RunActions):
    """For a list of runs with the bindings of `runs`."""

    def fetch(self, runs: Sequence[Path], then: Callable[[], object]) -> None:
        """Do `then` once all of the runs is here, those on other machines too."""
        raise NotImplementedError

    def shown_columns(self) -> tuple[RunColumns, Sequence[str]]:
        """The columns of the listed runs, and the full names of those that are shown."""
        raise NotImplementedError

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that were chosen, as they were written."""
        raise NotImplementedError

    def choose_columns(self, chosen: Sequence[str]) -> None:
        """Show these columns; the default ones if there are none."""
        raise NotImplementedError

    def action_overlay(self) -> None:
        if not self.marked:
            self.toast(tr("Mark runs with space first"), "overlay")
            return
        paths = [run.summary.path for run in self.marked]
        self.fetch(paths, lambda: self._overlay(paths))

    def _overlay(self, paths: Sequence[Path]) -> None:
        from lmm_tui.cockpit.screens.overlay_screen import OverlayScreen

        self.app.push_screen(OverlayScreen(paths))

    def action_differences(self) -> None:
        if len(self.marked) < 2:
            count = len(self.marked)
            hint = tr("Mark two runs or more with space ({count} marked)", count=count)
            self.toast(hint, "compare")
            return
        runs = self.marked
        self.fetch([run.summary.path for run in runs], lambda: self._compare(runs))

    def _compare(self, runs: Sequence[ListedRun]) -> None:
        from lmm_tui.cockpit.screens.comparison_screen import ComparisonScreen

        details = RunDetails(runs[0].summary.path.parent)
        self.app.push_screen(ComparisonScreen(runs, details))

    def action_columns(self) -> None:
        columns, _ = self.shown_columns()

        def judge(text: str) -> str:
            try:
                columns.chosen(_words(text))
            except LmmError as error:
                return str(error)
            return ""

        question = tr(
            "Columns of the list: name, state, health, best, curve, … and settings such as lr; "
            "“differing” stands for the settings in which the runs differ. Empty: the default ones"
        )
        dialog = AskDialog(tr("columns"), question, " ".join(self.columns), judge)
        self.app.push_screen(dialog, self._columns_chosen)

    def _columns_chosen(self, text: str | None) -> None:
        if text is not None:
            self.choose_columns(_words(text))

    def action_write(self) -> None:
        runs = self.targets()
        if not runs or self.remote:
            if self.remote:
                self.toast(tr("These runs are on other machines; do this there"), "export")
            return
        text = tr("{name} is written to a file.", name=runs[0].name)
        if len(runs) > 1:
            text = tr("{count} runs are written to a file.", count=len(runs))
        choices = [output.choice for output in _OUTPUTS.values()]
        dialog = ChoiceDialog(tr("export"), text, choices, first="html")
        self.app.push_screen(dialog, partial(self._ask_where, runs))

    def _ask_where(self, runs: Sequence[ListedRun], kind: str | None) -> None:
        if not kind:
            return
        output = _OUTPUTS[kind]
        suffix = Path(output.name).suffix

        def judge(name: str) -> str:
            path = Path(name).expanduser()
            if not name.strip() or path.suffix != suffix:
                return (
                    tr("give a name that ends in {suffix}", suffix=suffix)
                    if suffix
                    else tr("give the name of a folder")
                )
            if path.exists() and not output.each:
                return tr("{path}: exists already; take another name", path=path)
            return ""

        dialog = AskDialog(
            tr("export"), tr("Where to write it"), str(free_path(Path(output.name))), judge
        )
        self.app.push_screen(dialog, partial(self._write, runs, output))

    def _write(self, runs: Sequence[ListedRun], output: _Output, name: str | None) -> None:
        if name is None:
            return
        target = Path(name.strip()).expanduser()
        paths = [run.summary.path for run in runs]

        def work() -> str:
            output.write(paths, target)
            return tr("wrote {files}", files=target)

        if self.do("export", work):
            self.toast(tr("Writing {path} …", path=target), "export")


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


if __name__ == "__main__":
    print(_words("name, lr  best"), [*_OUTPUTS])
    print("=== 自测通过 ===")
