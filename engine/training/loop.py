"""The training loop: one optimiser step after another, commands in between.

This page is the order of things; each part is in a file of its own and shares a `TrainContext`
with the others. The loop knows stages, devices and metrics by their contracts only. Screens read
the run directory and write to the mailbox.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

from lmm_tui.engine.training.checkpointing import Checkpointer
from lmm_tui.engine.training.commands import Commands, refuse_until_ready
from lmm_tui.engine.training.context import Host
from lmm_tui.engine.training.evaluations import Evaluations
from lmm_tui.engine.training.health_actions import HealthActions
from lmm_tui.engine.training.live_model import LiveModel
from lmm_tui.engine.training.non_finite_policy import DivergedError, NonFinitePolicy
from lmm_tui.engine.training.optimizer_step import OptimizerStep
from lmm_tui.engine.training.preparation_pace import PreparationPace
from lmm_tui.engine.training.restore import find_checkpoint, resume_from
from lmm_tui.engine.training.rollback import Rollback
from lmm_tui.engine.training.run_setup import announce_start, build_context, choose_device
from lmm_tui.engine.training.setting_changer import SettingChanger
from lmm_tui.engine.training.spike_keeper import SpikeKeeper
from lmm_tui.engine.training.step_reader import StepReader
from lmm_tui.engine.training.stop_request import StopRequested
from lmm_tui.errors import LmmError
from lmm_tui.message import Message


class Trainer:
    """Trains one run to its end; made and run in the training thread."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._spikes = SpikeKeeper(host.run_dir, host.events)
        self._health = HealthActions(host, self._spikes)
        self._pace = PreparationPace()
        self._probe_due = False

    def run(self) -> str:
        """`finished` once all steps are done; raises StopRequested where a command says stop."""
        self._set_up()
        try:
            self._train()
            self._finish(save=True)
        except StopRequested as stop:
            self._finish(save=stop.save)
            stop.saved = self._checkpoints.saver.has(self._context.step)
            raise
        except DivergedError:
            self._finish(save=True)
            raise
        finally:
            self._checkpoints.close()
            self._spikes.close()
        return "finished"

    def _set_up(self) -> None:
        host = self._host
        device, precision = choose_device(host.config)
        checkpoint = find_checkpoint(host)
        self._context = context = build_context(
            host,
            device,
            precision,
            fresh=checkpoint is None,
            progress=self._report_progress,
            on_row=self._health.observe,
        )
        self._health.monitor.hold_to(context.stage.baselines)
        self._optimizer_step = OptimizerStep(context)
        self._non_finite = NonFinitePolicy(context, self._spikes)
        self._reader = StepReader(context, self._non_finite.observe)
        self._checkpoints = Checkpointer(context, self._reader.flush)
        self._rollback = Rollback(context, self._checkpoints, self._reader.flush)
        self._live = LiveModel(context, self._reader.flush)
        self._evaluations = Evaluations(context, self._checkpoints)
        self._settings = SettingChanger(context)
        self._commands = Commands(
            context,
            settings=self._settings,
            flush=self._reader.flush,
            checkpoints=self._checkpoints,
            rollback=self._rollback,
            live=self._live,
            evaluations=self._evaluations,
        )
        if checkpoint is not None:
            resume_from(context, checkpoint)
            self._checkpoints.saver.adopt(context.step, checkpoint)
            self._health.monitor.catch_up(host.run_dir.metrics, context.step)
        if host.resumes:
            self._settings.resume(_origin(checkpoint))
        announce_start(context)

    def _train(self) -> None:
        # Torch and the screens stay alive to the end: scanning them again costs 0.1 s in a step.
        gc.collect()
        gc.freeze()
        context = self._context
        while context.step < context.config.train.steps:
            with context.observer.speed.excluded():
                self._commands.serve()
            self._train_step()
            self._spikes.keep_flagged(context)
            self._non_finite.apply(self._rollback.roll_back_and_lower_lr, self._commands.pause)
            self._run_scheduled()
            self._health.apply(
                context,
                roll_back=self._rollback.roll_back_and_lower_lr,
                checkpoint=self._checkpoints.begin_unless_stuck,
                pause=self._commands.pause,
            )
            self._settings.make_due()
        if context.config.log.val_every and context.step % context.config.log.val_every:
            self._live.validate()

    def _train_step(self) -> None:
        probing, self._probe_due = self._probe_due, False
        self._reader.push(self._optimizer_step.run(probing))
        if probing:
            self._live.log_probe()
        self._reader.flush_if_free()

    def _run_scheduled(self) -> None:
        """Do what is due every so many steps."""
        context, log = self._context, self._context.config.log
        step = context.step
        context.report_warnings()
        if _is_due(step, log.val_every):
            self._live.validate()
        if _is_due(step, log.sample_every):
            self._try(Message("no sample"), self._live.sample)
        if _is_due(step, log.checkpoint_every):
            if log.keep_best and log.val_every and context.val_step != step:
                self._live.validate()  # The best is chosen by losses of the checkpoints' own steps.
            self._checkpoints.begin_unless_stuck()
        if _is_due(step, context.config.eval.every):
            self._try(Message("not evaluated"), self._evaluations.start_scheduled)
        self._evaluations.report()
        self._probe_due = self._probe_due or _is_due(step + 1, log.probe_every)

    def _try(self, otherwise: str, what: Callable[[], object]) -> None:
        """Do what may fail, as for a diverged model or on a full disk, without ending the run."""
        try:
            what()
        except LmmError as error:
            self._host.events.write(
                "alert",
                Message("{otherwise}: {error}", otherwise=otherwise, error=error),
                step=self._context.step,
                level="warning",
            )

    def _finish(self, save: bool) -> None:
        context = self._context
        context.status.update(state="stopping")
        self._reader.flush()
        if save:
            self._checkpoints.begin()
        with context.activity(Message("writing the checkpoint")):
            self._checkpoints.close()
        self._evaluations.close()
        self._health.monitor.close()
        context.observer.close()
        self._reader.conclude()
        self._live.close()

    def _report_progress(self, label: str, done: int, total: int) -> None:
        self._host.status.update(activity=self._pace.sentence(label, done, total))
        refuse_until_ready(self._host.mailbox, label)


def _origin(checkpoint: Path | None) -> str:
    """Where a resumed run continues, in words."""
    if checkpoint is None:
        return Message("from the start: there is no checkpoint")
    return Message("from {name}", name=checkpoint.name)


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


if __name__ == "__main__":
    due = [step for step in range(1, 13) if _is_due(step, 5)]
    print(due)
    assert due == [5, 10] and not _is_due(10, 0)
    print("=== 自测通过 ===")
