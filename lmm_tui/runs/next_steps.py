"""What can be done next with a run, each by one key and with its consequence.

Pure functions of what is known of the run: a diverged one goes back to a checkpoint with a lower
learning rate, an ended one is resumed or used.
"""

from __future__ import annotations

from dataclasses import dataclass

from lmm_tui.engine.run.checkpoint_names import checkpoint_step, list_checkpoints
from lmm_tui.engine.run.reader import RunView
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.setting_changes import SettingHistory
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import scientific
from lmm_tui.metrics.health.verdict import Verdict

LOWER_LR_BY = 3.0


@dataclass(frozen=True)
class NextStep:
    """`key` is the id of a row of the key table; the text says what comes of it.

    `short` is for a line on which not all texts fit; empty: the text.
    """

    key: str
    text: str
    short: str = ""


@dataclass(frozen=True)
class Cure:
    """To go back to the checkpoint of a step, 0 where there is none, with a lower peak LR."""

    before: int
    step: int
    lr: float | None
    """The peak learning rate now."""
    earlier: float | None = None
    """What it was at that step, where it has been raised since then."""

    @property
    def lower(self) -> float | None:
        """The learning rate to go on with."""
        if self.lr is None:
            return None
        third = self.lr / LOWER_LR_BY
        return third if self.earlier is None else min(third, self.earlier)

    @property
    def rate(self) -> str:
        """How the learning rate changes, as ` LR / 3 (3.0e-3 → 1.0e-3)`."""
        if self.lr is None or self.lower is None:
            return tr("LR / 3")
        before, after = scientific(self.lr), scientific(self.lower)
        if self.lower == self.earlier:
            return tr("LR as it was there ({before} → {after})", before=before, after=after)
        return tr("LR / 3 ({before} → {after})", before=before, after=after)


def saved_steps(run: RunDir) -> list[int]:
    """The steps of its checkpoints, ascending; none where they cannot be listed."""
    try:
        return sorted(map(checkpoint_step, list_checkpoints(run.checkpoints)))
    except OSError:
        return []


def cure_of(
    verdict: Verdict | None,
    saved: list[int],
    lr: float | None,
    history: SettingHistory | None = None,
) -> Cure | None:
    """How to go back to before the run diverged; None where it has not.

    `history` has the changes of the learning rate: one that was raised is not only divided.
    """
    before = verdict.sound_before if verdict is not None else None
    if before is None:
        return None
    step = max((step for step in saved if step < before), default=0)
    # A change at the step of the checkpoint holds only from the step after it on.
    earlier = None if history is None else history.at(step - 1).get("optim.lr")
    raised = isinstance(earlier, int | float) and lr is not None and earlier < lr
    return Cure(before, step, lr, earlier if raised else None)


def next_steps(view: RunView, cure: Cure | None, saved: list[int]) -> tuple[NextStep, ...]:
    """What to offer in the header, the most useful first; none for a healthy run that trains."""
    if view.log_format:
        return ()
    if cure is not None:
        return _cures(view, cure)
    if view.state == "paused":
        return _of_paused(saved)
    return () if view.active else _of_ended(view, saved)


def _of_paused(saved: list[int]) -> tuple[NextStep, ...]:
    again = NextStep("run.pause", tr("resume training"))
    changed = NextStep("run.set", tr("change the learning rate"))
    if not saved:
        return again, changed
    tuned = tr("fine-tune from step {step:,}", step=saved[-1])
    return again, changed, NextStep("next.fork", tuned)


def _cures(view: RunView, cure: Cure) -> tuple[NextStep, ...]:
    if view.active and cure.step:
        text = tr("back to step {step:,}, {rate}", step=cure.step, rate=cure.rate)
        return (NextStep("next.back", text),)
    if view.active:
        text = tr("no checkpoint before step {step:,}: lower the learning rate", step=cure.before)
        return (NextStep("run.set", text),)
    if cure.step:
        text = tr("new run from step {step:,}, {rate}", step=cure.step, rate=cure.rate)
    else:
        text = tr("new run with the same settings, {rate}", rate=cure.rate)
    return (NextStep("next.back", text),)


def _of_ended(view: RunView, saved: list[int]) -> tuple[NextStep, ...]:
    status = view.status
    if not saved:
        return (NextStep("next.fork", tr("new run with the same settings; nothing was saved")),)
    newest = saved[-1]
    complete = 0 < status.total_steps <= status.step
    lost = max(status.step - newest, 0)
    if complete:
        resume = tr("train longer: up to step {count:,}", count=2 * status.total_steps)
        brief = tr("train longer")
    elif lost:
        resume = tr("resume from step {step:,}, steps lost: {lost:,}", step=newest, lost=lost)
        brief = tr("resume from step {step:,}", step=newest)
    else:
        resume = brief = tr("resume from step {step:,}", step=newest)
    again = NextStep("next.resume", resume, brief)
    use = (
        NextStep("go.samples", tr("samples and chat"), tr("chat")),
        NextStep("go.evaluate", tr("evaluate")),
        NextStep("next.fork", tr("fine-tune from it"), tr("fine-tune")),
    )
    return (*use, again) if complete else (again, *use)


if __name__ == "__main__":
    from lmm_tui.engine.run.run_records import RunInfo, RunStatus

    info = RunInfo("demo", "pretrain", 0, 0, "box", 7, 0.0)
    for state, step in (("crashed", 200), ("finished", 300)):
        seen = RunView(info, RunStatus(state, step, 300), state)
        print(*(f"{step.key} {step.text}" for step in next_steps(seen, None, [94])), sep=" · ")
    live = RunView(info, RunStatus("running", 90, 300), "running")
    print(next_steps(live, Cure(88, 40, 3e-3), [40])[0].text)
    assert not next_steps(live, None, [40])
    print("=== 自测通过 ===")
