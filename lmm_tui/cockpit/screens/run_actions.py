"""What can be done to runs in their list: compare, rename, note, delete, resume.

Deleting and resuming ask first. The files are changed by `runs.manage_runs`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lmm_tui.cockpit.screens.config_diff import ConfigDiffScreen
from lmm_tui.cockpit.screens.dialogs import AskDialog, Choice, ChoiceDialog
from lmm_tui.cockpit.screens.list_screen import ListScreen
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import mark, tr
from lmm_tui.runs import manage_runs
from lmm_tui.runs.run_list import ListedRun
from lmm_tui.runs.status_text import run_argument


class RunActions(ListScreen):
    """For a list of runs with the bindings of `runs`."""

    @property
    def marked(self) -> tuple[Path, ...]:
        """The marked runs, in the order of the list."""
        raise NotImplementedError

    def run_under_cursor(self) -> ListedRun | None:
        raise NotImplementedError

    def is_shown(self, run: Path) -> bool:
        """Whether the dashboard shows this run."""
        raise NotImplementedError

    def _own_run(self, action: str) -> ListedRun | None:
        """The run under the cursor; none where it is a log of another program."""
        run = self.run_under_cursor()
        if run is not None and run.is_log:
            said = tr("{name} is a log of another program: read-only", name=run.name)
            self.toast(said, action, severe=True)
            return None
        return run

    def _ended_run(self, action: str) -> ListedRun | None:
        """The run under the cursor; where it is live, none: its folder must not be touched."""
        run = self._own_run(action)
        if run is not None and run.live:
            state = tr(run.summary.state)
            refusal = tr("{name} is {state}; stop it first", name=run.name, state=state)
            self.toast(refusal, action, severe=True)
            return None
        return run

    def action_overlay(self) -> None:
        if not self.marked:
            self.toast(tr("Mark runs with space first"), "overlay")
            return
        from lmm_tui.cockpit.screens.overlay_screen import OverlayScreen

        self.app.push_screen(OverlayScreen(self.marked))

    def action_differences(self) -> None:
        marked = self.marked
        if len(marked) != 2:
            hint = tr("Mark exactly two runs with space ({count} marked)", count=len(marked))
            self.toast(hint, "differences")
            return
        try:
            found = manage_runs.differences(*map(RunDir, marked))
        except LmmError as error:
            self.toast(str(error), "differences", severe=True)
            return
        self.app.push_screen(ConfigDiffScreen(marked[0].name, marked[1].name, found))

    def action_rename(self) -> None:
        if (run := self._ended_run("rename")) is not None:
            path = run.summary.path

            def judge(name: str) -> str:
                try:
                    manage_runs.check_name(RunDir(path), name)
                except LmmError as error:
                    return str(error)
                return ""

            question = tr("New name for {name}", name=run.name)
            dialog = AskDialog(tr("rename"), question, run.name, judge)
            self.app.push_screen(dialog, partial(self._rename, path))

    def _rename(self, path: Path, name: str | None) -> None:
        if name is None:
            return

        def work() -> str:
            manage_runs.rename(RunDir(path), name)
            return tr("Renamed {old} to {new}", old=path.name, new=name)

        self.do("rename", work, opens=path.with_name(name) if self.is_shown(path) else None)

    def action_note(self) -> None:
        if run := self._own_run("note"):
            question = tr("Note on {name}; leave empty to remove it", name=run.name)
            dialog = AskDialog(tr("note"), question, run.note)
            self.app.push_screen(dialog, partial(self._note, run.summary.path))

    def _note(self, path: Path, text: str | None) -> None:
        if text is None:
            return

        def work() -> str:
            manage_runs.note(RunDir(path), text)
            return tr("Note saved") if text.strip() else tr("Note removed")

        self.do("note", work)

    def action_delete(self) -> None:
        if (run := self._ended_run("delete")) is not None:
            question = tr(
                "{name}: {state} at step {step:,}.\nIt is moved to {trash}, not deleted for good.",
                name=run.name,
                state=tr(run.summary.state),
                step=run.summary.status.step,
                trash=run.summary.path.parent / manage_runs.TRASH,
            )
            choices = [Choice("delete", "y", mark("Move it to the trash"))]
            self.app.push_screen(
                ChoiceDialog(tr("delete a run"), question, choices),
                partial(self._delete, run.summary.path),
            )

    def _delete(self, path: Path, answer: str | None) -> None:
        if answer == "delete":
            self.do(
                "delete",
                lambda: tr("moved to {place}", place=manage_runs.throw_away(RunDir(path))),
            )

    def action_resume(self) -> None:
        if (run := self._ended_run("resume")) is not None:
            path, status = run.summary.path, run.summary.status
            complete = 0 < status.total_steps <= status.step
            steps = 2 * status.total_steps if complete else None
            question = tr("{name} resumes from its last intact checkpoint.", name=run.name)
            if complete:
                question = tr(
                    "{said} All its steps are done; this trains as many more.", said=question
                )
            option = f" --steps {steps}" if steps else ""
            command = f"lmm-tui resume {run_argument(path)}{option}"
            choices = [
                Choice("start", "y", mark("Resume now, in the background")),
                Choice("copy", "c", mark("Copy the command line")),
            ]
            self.app.push_screen(
                ChoiceDialog(tr("resume a run"), question, choices, code=command),
                partial(self._resume, path, steps, command),
            )

    def _resume(self, path: Path, steps: int | None, command: str, answer: str | None) -> None:
        if answer == "copy":
            self.copy(command)
        elif answer == "start":

            def work() -> str:
                pid = resume_detached(RunDir(path), steps)
                return tr("{name} is training (pid {pid})", name=path.name, pid=pid)

            if self.do("resume", work, opens=path):
                self.toast(tr("Starting {name} …", name=path.name), "resume")


def resume_detached(run: RunDir, steps: int | None) -> int:
    """Resume a run in a process of its own, up to `steps` if given; returns the process id."""
    from lmm_tui.engine.config.resolve import with_changes
    from lmm_tui.engine.config.run_settings import settings_of
    from lmm_tui.runs.detached import start

    config = with_changes(settings_of(run), {} if steps is None else {"train.steps": steps})
    return start(config, run).pid


if __name__ == "__main__":
    import tempfile

    screen = RunActions()
    screen.do = lambda title, work, **_: bool(print(title, work()))  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        screen._note(Path(folder), "good")
    print("=== 自测通过 ===")
