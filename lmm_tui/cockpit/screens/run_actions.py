"""What changes runs in their list: rename, note and resume one; tag, archive and delete the marked.

Where none is marked the one under the cursor is meant. Deleting and resuming ask first. The files
are changed by `runs.manage_runs` and `runs.run_tags`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lmm_tui.cockpit.screens.dialogs import AskDialog, Choice, ChoiceDialog
from lmm_tui.cockpit.screens.list_screen import ListScreen
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import listed, mark, tr
from lmm_tui.runs import manage_runs
from lmm_tui.runs.run_filter import ARCHIVED
from lmm_tui.runs.run_list import ListedRun
from lmm_tui.runs.run_tags import change_tags
from lmm_tui.runs.status_text import run_argument

_MOST_NAMED = 6


class RunActions(ListScreen):
    """For a list of runs with the bindings of `runs`."""

    @property
    def marked(self) -> tuple[ListedRun, ...]:
        """The marked runs, in the order of the list."""
        raise NotImplementedError

    @property
    def remote(self) -> bool:
        """Whether the runs are on other machines, where alone their files can be changed."""
        return False

    def run_under_cursor(self) -> ListedRun | None:
        raise NotImplementedError

    def is_shown(self, run: Path) -> bool:
        """Whether the dashboard shows this run."""
        raise NotImplementedError

    def targets(self) -> tuple[ListedRun, ...]:
        """The marked runs, or else the one under the cursor."""
        run = self.run_under_cursor()
        return self.marked or ((run,) if run is not None else ())

    def _own_run(self, action: str) -> ListedRun | None:
        """The run under the cursor; none where its files are not to be changed."""
        run = self.run_under_cursor()
        return run if run is not None and self._can_change([run], action) else None

    def _ended_run(self, action: str) -> ListedRun | None:
        """The run under the cursor; where it is live, none: its folder must not be touched."""
        run = self._own_run(action)
        return run if run is not None and self._have_ended([run], action) else None

    def _can_change(self, runs: Sequence[ListedRun], action: str) -> bool:
        """Whether none is a log of another program or on another machine; else it is said."""
        if self.remote:
            said = tr("These runs are on other machines; do this there")
            self.toast(said, action, severe=True)
            return False
        if logs := [run.name for run in runs if run.is_log]:
            said = tr("{name} is a log of another program: read-only", name=_named(logs))
            self.toast(said, action, severe=True)
        return bool(runs) and not logs

    def _have_ended(self, runs: Sequence[ListedRun], action: str) -> bool:
        """Whether none is live; else the first that is is named."""
        for run in runs:
            if run.live:
                state = tr(run.summary.state)
                refusal = tr("{name} is {state}; stop it first", name=run.name, state=state)
                self.toast(refusal, action, severe=True)
                return False
        return True

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

    def action_tag(self) -> None:
        runs = self.targets()
        if self._can_change(runs, "tag"):
            first = runs[0] if len(runs) == 1 else None
            question = (
                tr("Tags of {name}, with spaces between them", name=first.name)
                if first
                else tr("Tags to give to {count} runs; -TAG takes one away", count=len(runs))
            )
            dialog = AskDialog(tr("tag"), question, " ".join(first.tags) if first else "")
            self.app.push_screen(dialog, partial(self._tag, runs))

    def _tag(self, runs: Sequence[ListedRun], text: str | None) -> None:
        if text is None:
            return
        words = text.split()
        drop = {word[1:] for word in words if word.startswith("-")}
        add = {word for word in words if not word.startswith("-")}
        if len(runs) == 1:  # What is not in the line any more is taken away.
            drop |= {*runs[0].tags} - add

        def work() -> str:
            for run in runs:
                change_tags(RunDir(run.summary.path), add, drop)
            return tr("Tags of {names} changed", names=_named([run.name for run in runs]))

        self.do("tag", work)

    def action_archive(self) -> None:
        """Hide the runs from the list, or show them again where all of them are hidden."""
        runs = self.targets()
        if not self._can_change(runs, "archive"):
            return
        back = all(ARCHIVED in run.tags for run in runs)
        names = _named([run.name for run in runs])

        def work() -> str:
            for run in runs:
                tags = (ARCHIVED,)
                change_tags(RunDir(run.summary.path), () if back else tags, tags if back else ())
            if back:
                return tr("{names}: no longer archived", names=names)
            return tr("{names}: archived; the filter tag=archived lists them", names=names)

        self.do("archive", work)

    def action_delete(self) -> None:
        runs = self.targets()
        if not (self._can_change(runs, "delete") and self._have_ended(runs, "delete")):
            return
        trash = runs[0].summary.path.parent / manage_runs.TRASH
        if len(runs) == 1:
            question = tr(
                "{name}: {state} at step {step:,}.\nIt is moved to {trash}, not deleted for good.",
                name=runs[0].name,
                state=tr(runs[0].summary.state),
                step=runs[0].summary.status.step,
                trash=trash,
            )
        else:
            question = tr(
                "{count} runs: {names}.\nThey are moved to {trash}, not deleted for good.",
                count=len(runs),
                names=_named([run.name for run in runs]),
                trash=trash,
            )
        choice = Choice("delete", "y", mark("Move it to the trash"))
        if len(runs) > 1:
            choice = Choice("delete", "y", mark("Move them to the trash"))
        self.app.push_screen(
            ChoiceDialog(tr("delete a run"), question, [choice]),
            partial(self._delete, [RunDir(run.summary.path) for run in runs]),
        )

    def _delete(self, runs: Sequence[RunDir], answer: str | None) -> None:
        if answer == "delete":
            self.do("delete", partial(throw_away, runs))

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


def throw_away(runs: Sequence[RunDir]) -> str:
    """Move runs to the trash; what cannot be moved stays, and is said after all others went."""
    moved, refused = [], []
    for run in runs:
        try:
            moved.append(manage_runs.throw_away(run))
        except LmmError as error:
            refused.append(error)
    if refused:
        raise refused[0]
    return tr("moved to {place}", place=moved[0] if len(moved) == 1 else moved[0].parent)


def _named(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - _MOST_NAMED
    rest = tr(" and {count} more", count=more) if more > 0 else ""
    return listed(names[:_MOST_NAMED]) + rest


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
