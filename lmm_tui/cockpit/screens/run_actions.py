"""What changes runs in their list: note, tag, archive, resume and delete the marked; rename one.

Where none is marked the one under the cursor is meant. Deleting and resuming ask first. The files
are changed by `runs.manage_runs` and `runs.run_tags`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        runs = self.targets()
        if len(runs) > 1:
            said = tr("A name belongs to one run; {count} are marked", count=len(runs))
            self.toast(said, "rename", severe=True)
        elif self._can_change(runs, "rename") and self._have_ended(runs, "rename"):
            (run,) = runs
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
        runs = self.targets()
        if self._can_change(runs, "note"):
            names = _named([run.name for run in runs])
            question = tr("Note on {name}; leave empty to remove it", name=names)
            dialog = AskDialog(tr("note"), question, runs[0].note if len(runs) == 1 else "")
            paths = [run.summary.path for run in runs]
            self.app.push_screen(dialog, partial(self._note, paths))

    def _note(self, paths: Sequence[Path], text: str | None) -> None:
        if text is None:
            return

        def work() -> str:
            for path in paths:
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
        runs = self.targets()
        if not (self._can_change(runs, "resume") and self._have_ended(runs, "resume")):
            return
        steps = {run.summary.path: _steps_to_come(run) for run in runs}
        names = _named([run.name for run in runs])
        question = (
            tr("{name} resumes from its last intact checkpoint.", name=names)
            if len(runs) == 1
            else tr("{names} resume from their last intact checkpoints, all at once.", names=names)
        )
        if any(steps.values()):
            question = (
                tr("{said} All its steps are done; this trains as many more.", said=question)
                if len(runs) == 1
                else tr("{said} One whose steps are done trains as many more.", said=question)
            )
        commands = "\n".join(
            f"lmm-tui resume {run_argument(path)}" + (f" --steps {more}" if more else "")
            for path, more in steps.items()
        )
        choices = [
            Choice("start", "y", mark("Resume now, in the background")),
            Choice("copy", "c", mark("Copy the command line")),
        ]
        self.app.push_screen(
            ChoiceDialog(tr("resume a run"), question, choices, code=commands),
            partial(self._resume, steps, commands),
        )

    def _resume(self, steps: Mapping[Path, int | None], commands: str, answer: str | None) -> None:
        if answer == "copy":
            self.copy(commands)
        elif answer == "start":
            names = _named([path.name for path in steps])

            def work() -> str:
                pids = [resume_detached(RunDir(path), more) for path, more in steps.items()]
                if len(pids) == 1:
                    return tr("{name} is training (pid {pid})", name=names, pid=pids[0])
                return tr("{names} are training", names=names)

            only = next(iter(steps)) if len(steps) == 1 else None
            if self.do("resume", work, opens=only):
                self.toast(tr("Starting {name} …", name=names), "resume")


def _steps_to_come(run: ListedRun) -> int | None:
    """Where a run whose steps are done ends next; None for others."""
    status = run.summary.status
    complete = 0 < status.total_steps <= status.step
    return 2 * status.total_steps if complete else None


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
        screen._note([Path(folder)], "good")
    print("=== 自测通过 ===")
