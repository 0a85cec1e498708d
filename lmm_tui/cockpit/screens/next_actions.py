"""Does what the header offers next: step back to before the run diverged, resume it, start from it.

What is offered, and with what consequence, is decided by `next_steps`; here it is done.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from lmm_tui.cockpit.keys import KEYS
from lmm_tui.cockpit.messages import CommandDone, ConfigureRun, OpenRun
from lmm_tui.cockpit.screens.dialogs import Choice, ChoiceDialog
from lmm_tui.cockpit.screens.live_settings import current_settings
from lmm_tui.cockpit.screens.run_commands import RunCommands
from lmm_tui.cockpit.widgets.key_bar import shown_key
from lmm_tui.engine.run.checkpoint_names import checkpoint_name
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.setting_changes import read_history
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import mark, tr
from lmm_tui.runs.next_steps import (
    Cure,
    NextStep,
    cure_of,
    next_steps,
    saved_steps,
)
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from pathlib import Path

    from textual.message import Message

    from lmm_tui.engine.config.run_config import RunConfig
    from lmm_tui.metrics.health.verdict import Verdict

_TUNED_AS = {"pretrain": "sft"}
"""By stage, the stage that usually follows."""


class NextActions(RunCommands):
    """For screens with the keys `next` of the dashboard."""

    _cure: Cure | None = None
    _offered_for: object = None
    _offered: tuple[NextStep, ...] = ()

    def next_steps(self, verdict: Verdict | None) -> tuple[NextStep, ...]:
        """What to offer; the folder is read again only where something has changed."""
        view = self.session.view
        # A live run's step changes nothing: a checkpoint or a new learning rate is an event.
        seen = view.state, len(self.session.events), verdict
        at_work = view.active and view.state != "paused" and not _is_error(verdict)
        if at_work or self.session.foreign:
            self._cure, self._offered_for, self._offered = None, None, ()
        elif seen != self._offered_for:
            run = self.session.run_dir
            saved, lr = saved_steps(run), current_settings(run).get("lr")
            self._cure = cure_of(verdict, saved, lr, read_history(run.events))
            self._offered_for = seen
            self._offered = next_steps(view, self._cure, saved)
        return self._offered

    def action_step_back(self) -> None:
        cure = self._cure
        if cure is None:
            self.toast(tr("The run has not diverged; nothing to go back from."), mark("step back"))
        elif not self.session.view.active:
            self._configure({} if cure.lower is None else {"optim.lr": cure.lower}, cure)
        elif not cure.step:
            hint = tr("No checkpoint from before step {step:,}.", step=cure.before)
            self.toast(hint, mark("step back"), severe=True)
        elif self.begin("rollback"):
            self.in_background("rollback", partial(self._step_back, cure))

    def _step_back(self, cure: Cure) -> Message:
        """Lower the learning rate first: a step between the two must not be taken with the old."""
        reply = Reply(True, "")
        if cure.lower is not None:
            reply = self.session.send("set", {"lr": cure.lower})
        if reply.ok:
            reply = self.session.send("rollback", {"before": cure.before})
        return CommandDone("rollback", reply)

    def action_resume_run(self) -> None:
        view = self.session.view
        if view.log_format or view.active:
            state = tr("a log of another program") if view.log_format else tr(view.state)
            said = tr("{name} is {state}; only an ended run is resumed", name=view.info.name,
                      state=state)  # fmt: skip
            self.toast(said, mark("resume"))
            return
        status = view.status
        if self._newest() is None:
            self.toast(tr("No checkpoint to resume from; f sets up a new run."), mark("resume"))
        elif 0 < status.total_steps <= status.step:
            question = tr(
                "{name} is finished. Train on, up to step {count:,}?",
                name=view.info.name,
                count=2 * status.total_steps,
            )
            choices = [Choice("longer", "y", mark("Train longer"))]
            dialog = ChoiceDialog(tr("train longer"), question, choices)
            self.app.push_screen(dialog, partial(self._train_longer, 2 * status.total_steps))
        else:
            self._resume_up_to(None)

    def _train_longer(self, steps: int, answer: str | None) -> None:
        if answer:
            self._resume_up_to(steps)

    def _resume_up_to(self, steps: int | None) -> None:
        run = self.session.run_dir

        def work() -> Message:
            from lmm_tui.cockpit.screens import run_actions

            run_actions.resume_detached(run, steps)
            return OpenRun(run.path)

        if self.begin("resume"):
            self.in_background("resume", work, lambda why: CommandDone("resume", Reply(False, why)))

    def action_fork_run(self) -> None:
        """Set up a new run from the newest checkpoint, or with the same settings without one."""
        if self.session.foreign:
            self.toast(tr("a log of another program has no settings"), mark("fine-tune"))
            return
        stage = self.session.view.info.stage
        self._configure({"stage": _TUNED_AS.get(stage, stage)} if self._newest() else {}, None)

    def start_before(self, step: int) -> None:
        earlier = [saved for saved in saved_steps(self.session.run_dir) if saved < step]
        self._configure({}, Cure(step, max(earlier, default=0), None))

    def _newest(self) -> Path | None:
        run = self.session.run_dir
        saved = saved_steps(run)
        return run.checkpoints / checkpoint_name(saved[-1]) if saved else None

    def _configure(self, values: dict[str, Any], cure: Cure | None) -> None:
        """Open the form: with the settings of this run for a cure, else for its next stage."""
        from lmm_tui.engine.config.resolve import resolve, with_changes
        from lmm_tui.engine.config.run_settings import settings_of

        run = self.session.run_dir
        values = values | {"runs_dir": str(run.path.parent)}
        start = self._newest()
        if cure is not None:
            start = run.checkpoints / checkpoint_name(cure.step) if cure.step else None
        if start is not None:
            values["start_from"] = str(start)
        try:
            if cure is None and start is not None:
                config = resolve(assignments=values)
            else:
                config = with_changes(settings_of(run), values | {"name": None})
        except LmmError as error:
            self.toast(str(error), mark("fine-tune"), severe=True)
            return
        if cure is None and start is None:
            self.toast(self._without_checkpoint(config), mark("fine-tune"))
        self.app.post_message(ConfigureRun(config))

    def _without_checkpoint(self, config: RunConfig) -> str:
        weights = clean(config.start_from) if config.start_from else tr("random weights")
        if self.session.view.active:
            return tr(
                "No checkpoint yet ({key} saves one): settings of this run, {weights}; "
                "“start from” lists other weights",
                key=next(shown_key(key) for key in KEYS if key.id == "run.checkpoint"),
                weights=weights,
            )
        return tr(
            "This run saved no checkpoint: its settings, {weights}; “start from” lists other "
            "weights",
            weights=weights,
        )


def _is_error(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.level == "error"


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.run.reader import Reader

    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        screen = NextActions(Reader(log.name))
        print(screen.next_steps(None), screen._newest())
    print("=== 自测通过 ===")
