"""What can be done to checkpoints in their list: pin, check, delete, evaluate, convert, fork.

Deleting and unpinning the last copy ask first; evaluating and converting use processes of their
own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lmm_tui.cockpit.messages import StartFrom
from lmm_tui.cockpit.screens.dialogs import AskDialog, Choice, ChoiceDialog
from lmm_tui.cockpit.screens.list_screen import ListScreen
from lmm_tui.engine.checkpoints import checkpoint_files
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.number_format import number, size
from lmm_tui.runs.checkpoint_list import ADAPTER, ListedCheckpoint
from lmm_tui.runs.run_list import ListedRun
from lmm_tui.runs.status_text import RunSummary, run_argument

if TYPE_CHECKING:
    from lmm_tui.engine.evaluation.background import BackgroundEvaluation


class CheckpointActions(ListScreen):
    """For a list of the checkpoints of `run` with the bindings of `checkpoints`."""

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self._run = run
        self._evaluation: BackgroundEvaluation | None = None

    def checkpoint_under_cursor(self) -> ListedCheckpoint | None:
        raise NotImplementedError

    def is_last_of_live_run(self) -> bool:
        """Whether the run is live and has one checkpoint alone."""
        raise NotImplementedError

    def action_pin(self) -> None:
        one = self.checkpoint_under_cursor()
        if one is None:
            return
        if not one.pinned:
            self._do("pin", partial(_pin, one.path))
        elif len(one.kept) > 1:
            self._do("pin", partial(_unpin, one.path))
        else:
            question = ChoiceDialog(
                tr("unpin"),
                tr(
                    "Without the pin the next checkpoint removes {name}.",
                    name=one.path.name,
                ),
                [Choice("unpin", "y", mark("Unpin it"))],
            )
            self.app.push_screen(question, partial(self._do_if, "unpin", partial(_unpin, one.path)))

    def action_check(self) -> None:
        if one := self.checkpoint_under_cursor():
            self.toast(tr("Verifying {name} …", name=one.path.name), "check")
            self._do("check", partial(_check, one.path))

    def action_delete(self) -> None:
        one = self.checkpoint_under_cursor()
        if one is None:
            return
        if self.is_last_of_live_run():
            self.toast(tr("the only checkpoint of a live run stays"), "delete", severe=True)
            return
        loss = ""
        pinned = tr(" It is pinned.") if one.pinned else ""
        if one.val_loss is not None:
            loss = tr(", validation loss {loss}", loss=number(one.val_loss))
        if one.borrowed:
            loss += tr(" at step {step:,}", step=one.val_step)
        question = ChoiceDialog(
            tr("delete a checkpoint"),
            tr(
                "{name}: {size}{loss}.{pinned}\nIt is deleted for good: checkpoints have no trash.",
                name=one.path.name,
                size=size(one.bytes),
                loss=loss,
                pinned=pinned,
            ),
            [Choice("delete", "y", mark("Delete for good"))],
        )
        erase = partial(_erase, self._run, one.path)
        self.app.push_screen(question, partial(self._do_if, "delete", erase))

    def action_evaluate(self) -> None:
        if one := self.checkpoint_under_cursor():
            question = ChoiceDialog(
                tr("evaluate a checkpoint"),
                tr(
                    "Run the built-in evaluation on {name} in a worker process. It shares the "
                    "CPU with training.",
                    name=one.path.name,
                ),
                [
                    Choice("go", "y", mark("Evaluate now")),
                    Choice("copy", "c", mark("Copy the command line")),
                ],
                code=f"lmm-tui eval --run {run_argument(one.path)}",
                first="go",
            )
            self.app.push_screen(question, partial(self._evaluate, one.path))

    def _evaluate(self, path: Path, answer: str | None) -> None:
        if answer == "copy":
            self.copy(f"lmm-tui eval --run {run_argument(path)}")
        elif answer == "go":
            if self._evaluation is None:
                self._evaluation = _background_evaluation(self._run)
            if self._evaluation.start(path):
                self.toast(tr("Evaluating {name} …", name=path.name), "evaluate")
            else:
                self.toast(tr("the previous evaluation is still running"), "evaluate", severe=True)

    def collect_evaluations(self) -> None:
        """Toast the scores of evaluations that have ended."""
        for ended in self._evaluation.collect() if self._evaluation else ():
            if isinstance(ended, LmmError):
                self.toast(str(ended), "evaluate", severe=True)
                continue
            scores = [f"{score.task} {score.value:.3f}" for score in ended.outcome.scores]
            said = tr(
                "step {step}: {scores}; kept in evals/",
                step=ended.step,
                scores=tr(", ").join(scores),
            )
            self.toast(said, "evaluate")

    def action_convert(self) -> None:
        if one := self.checkpoint_under_cursor():
            asked = AskDialog(
                tr("convert"),
                tr(
                    "Write {name} as a Hugging Face folder, or as a MiniMind .pth file, to this "
                    "path:",
                    name=one.path.name,
                ),
                f"{self._run.name}-{one.step}-hf",
                _judge_target,
            )
            self.app.push_screen(asked, partial(self._convert, one))

    def _convert(self, one: ListedCheckpoint, target: str | None) -> None:
        if target is not None:
            self._do("convert", partial(_convert, one, Path(target).expanduser()))
            self.toast(tr("Converting {name} …", name=one.path.name), "convert")

    def action_fork(self) -> None:
        if one := self.checkpoint_under_cursor():
            command = f"lmm-tui launch --from {run_argument(one.path)}"
            question = ChoiceDialog(
                tr("train from a checkpoint"),
                tr(
                    "Start a new run from {name} of {run}.",
                    name=one.path.name,
                    run=self._run.name,
                ),
                [
                    Choice("configure", "y", mark("Configure it now")),
                    Choice("copy", "c", mark("Copy the command line")),
                ],
                code=command,
                first="configure",
            )
            self.app.push_screen(question, partial(self._fork, one.path, command))

    def _fork(self, path: Path, command: str, answer: str | None) -> None:
        if answer == "copy":
            self.copy(command)
        elif answer == "configure":
            self.post_message(StartFrom(path))

    def on_unmount(self) -> None:
        if self._evaluation is not None:
            self._evaluation.close()

    def _do_if(self, expected: str, work: Callable[[], str], answer: str | None) -> None:
        if answer == expected:
            self._do(expected, work)

    def _do(self, title: str, work: Callable[[], str]) -> None:
        if not self.do(title, work):
            self.toast(tr("still running"), title, severe=True)


def _pin(path: Path) -> str:
    checkpoint_files.pin(path)
    return tr("{name} is pinned", name=path.name)


def _unpin(path: Path) -> str:
    checkpoint_files.unpin(path)
    return tr("{name} is no longer pinned", name=path.name)


def _check(path: Path) -> str:
    checkpoint_files.verify(path)
    return tr("{name} is intact: all checksums match", name=path.name)


def _erase(run: RunDir, path: Path) -> str:
    """Check again at the last moment: a live run keeps what it could resume from."""
    others = set(checkpoint_files.list_checkpoints(run.checkpoints)) - {path}
    if not others and ListedRun(RunSummary.of(Reader(run.path))).live:
        raise checkpoint_files.CheckpointError("the only checkpoint of a live run stays")
    checkpoint_files.remove(path)
    return tr("{name} deleted", name=path.name)


def _convert(one: ListedCheckpoint, target: Path) -> str:
    from lmm_tui.runs.worker_jobs import convert_in_worker

    return convert_in_worker(one.path, target, merge=ADAPTER in one.parts)


def _judge_target(text: str) -> str:
    if not text.strip():
        return tr("give a path, such as my-model or my-model.pth")
    if Path(text).expanduser().exists():
        return tr("{path}: exists already; nothing is overwritten, give another name", path=text)
    return ""


def _background_evaluation(run: RunDir) -> BackgroundEvaluation:
    from lmm_tui.engine.evaluation.background import BackgroundEvaluation
    from lmm_tui.engine.evaluation.builtin_tasks import ALL
    from lmm_tui.engine.evaluation.flags import DEFAULT_LIMIT
    from lmm_tui.engine.evaluation.job import Job

    return BackgroundEvaluation(run, Job("", (ALL,), limit=DEFAULT_LIMIT))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        print(repr(_judge_target(folder)), "|", repr(_judge_target(f"{folder}/new")))
    print("=== 自测通过 ===")
