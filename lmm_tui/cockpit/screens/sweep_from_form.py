"""A form in which a field has several values or a range starts a sweep instead of a run.

How it is swept is asked for in one line, in the words of `lmm-tui sweep`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.message import Message

from lmm_tui.cockpit.screens.background_thread import run_in_background
from lmm_tui.cockpit.screens.settings_dialogs import SettingsFiles
from lmm_tui.cockpit.widgets.choice import ChoiceRow
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import listed, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.planning.command_line import command_line
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.sweeps.axes import Axis
    from lmm_tui.sweeps.sweep_plan import SweepWishes

_TRIALS_OF_A_RANGE = 20
_WHOLE = ("trials", "seeds", "jobs")
_WORDS = (*_WHOLE, "sampler", "prune", "metric")


@dataclass
class SweepBegun(Message):
    """A thread has made a sweep and started its queue; `error` says why not."""

    name: str
    error: str = ""


class SweepFromForm(SettingsFiles):
    """For the screen of the form."""

    def action_mark(self) -> None:
        """Mark the selected choice of the focused field as one of several to train."""
        if isinstance(self.focused, ChoiceRow):
            self.focused.toggle_mark()

    def ask_sweep(self, axes: tuple[Axis, ...]) -> None:
        """Ask how the space is swept, then begin."""
        from lmm_tui.cockpit.screens.dialogs import AskDialog
        from lmm_tui.sweeps.axes import written
        from lmm_tui.sweeps.sweep_plan import choose

        def judge(text: str) -> str:
            try:
                wishes = read_wishes(text)
                choose(axes, wishes.trials, wishes.sampler)
            except LmmError as error:
                return str(error)
            return ""

        question = tr(
            "{axes}\nHow: trials=N sampler=grid|random|tpe prune=none|median|halving|hyperband "
            "seeds=N jobs=N metric=NAME",
            axes=", ".join(map(written, axes)),
        )
        trials = f"trials={_TRIALS_OF_A_RANGE} " if any(axis.is_range for axis in axes) else ""
        dialog = AskDialog(tr("sweep"), question, f"{trials}prune=none seeds=1 jobs=1", judge)
        self.app.push_screen(dialog, lambda text: self._sweep(axes, text))

    def _sweep(self, axes: tuple[Axis, ...], text: str | None) -> None:
        if text is None:
            return
        config, wishes = self.config, read_wishes(text)

        def begin() -> SweepBegun:
            from lmm_tui.sweeps.steer_sweep import start_worker
            from lmm_tui.sweeps.sweep_plan import new_sweep

            folder = new_sweep(config, axes, wishes)
            start_worker(folder)
            return SweepBegun(folder.path.name)

        run_in_background(self, "sweep", begin, refused=lambda why: SweepBegun("", why))

    async def on_sweep_begun(self, message: SweepBegun) -> None:
        if message.error:
            said = clean(translate_message(message.error))
            self.notify(said, title=tr("not started"), severity="warning", markup=False)
            return
        said = tr("sweep {name} has begun", name=message.name)
        self.notify(clean(said), title=tr("sweep"), markup=False)
        await self.run_action("app.go('queue')")


def read_wishes(text: str) -> SweepWishes:
    """From words such as `trials=20 prune=median`. Raises SweepError."""
    from lmm_tui.sweeps.axes import SweepError
    from lmm_tui.sweeps.sweep_plan import PRUNERS, SAMPLERS, SweepWishes

    found: dict[str, Any] = {}
    for word in text.split():
        key, between, value = word.partition("=")
        if key not in _WORDS or not between or not value:
            raise SweepError(
                "{word}: write it as KEY=VALUE; keys are {keys}", word=word[:80], keys=[*_WORDS]
            )
        if key in _WHOLE and not (value.isdecimal() and 1 <= int(value) <= 10_000):
            raise SweepError("{word}: a whole number from 1 to 10,000", word=word[:80])
        known = {"sampler": SAMPLERS, "prune": PRUNERS}.get(key)
        if known and value not in known:
            raise SweepError("{word}: choose from {known}", word=word[:80], known=[*known])
        found["pruner" if key == "prune" else key] = int(value) if key in _WHOLE else value
    return SweepWishes(**found)


def sweep_promise(axes: Sequence[Axis]) -> str:
    """What will be trained; empty where nothing is varied."""
    if not axes:
        return ""
    from lmm_tui.sweeps.axes import space_size

    keys = listed([axis.key.rpartition(".")[2] for axis in axes])
    if any(axis.is_range for axis in axes):
        return tr("a sweep over {keys}", keys=keys)
    return tr("a sweep of {count} runs over {keys}", count=int(space_size(axes)), keys=keys)


def form_command(config: RunConfig, axes: Sequence[Axis]) -> str:
    """The command that starts the same: a sweep where something is varied, else a run."""
    if not axes:
        return command_line(config)
    import shlex

    from lmm_tui.sweeps.axes import written

    varied = {axis.key for axis in axes}
    sets = " ".join(f"--set {shlex.quote(written(axis))}" for axis in axes)
    trials = f" --trials {_TRIALS_OF_A_RANGE}" if any(axis.is_range for axis in axes) else ""
    return f"{command_line(config, 'lmm-tui sweep', varied)} {sets}{trials}"


if __name__ == "__main__":
    from lmm_tui.sweeps.axes import Axis, SweepError

    print(read_wishes("trials=20 prune=median"))
    print(form_command(RunConfig(), [Axis("optim.lr", (1e-3, 3e-3))]))
    try:
        read_wishes("trials=many")
        raise AssertionError
    except SweepError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
