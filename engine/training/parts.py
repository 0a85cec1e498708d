"""The parts of one training run, made in order: what each reads and changes is in its own file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lmm_tui.engine.config.even_shares import refuse_uneven
from lmm_tui.engine.health.health_monitor import checked_rules
from lmm_tui.engine.parallel.ranks import Ranks
from lmm_tui.engine.run.rank_records import read_supervisor
from lmm_tui.engine.run.run import Run
from lmm_tui.engine.training.agenda import Agenda
from lmm_tui.engine.training.checkpointing import Checkpointer
from lmm_tui.engine.training.commands import StopRequested, TrainingCommands
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.evaluations import Evaluations
from lmm_tui.engine.training.health_actions import HealthActions
from lmm_tui.engine.training.live_model import LiveModel
from lmm_tui.engine.training.non_finite_policy import NonFinitePolicy
from lmm_tui.engine.training.optimizer_step import OptimizerStep
from lmm_tui.engine.training.preparation_pace import PreparationPace
from lmm_tui.engine.training.recorded_steps import recorded_steps
from lmm_tui.engine.training.restore import find_checkpoint, resume_from
from lmm_tui.engine.training.rollback import Rollback
from lmm_tui.engine.training.run_setup import announce_start, build_context, choose_device
from lmm_tui.engine.training.schedules import (
    Checkpointing,
    Evaluating,
    Probing,
    Sampling,
    StageWarnings,
    Validation,
)
from lmm_tui.engine.training.setting_changer import SettingChanger
from lmm_tui.engine.training.spike_keeper import SpikeKeeper
from lmm_tui.engine.training.step_reader import StepReader
from lmm_tui.engine.training.train_job import TrainJob
from lmm_tui.engine.training.weight_checksum import WeightChecksum
from lmm_tui.message import Message


@dataclass(frozen=True)
class TrainingParts:
    context: TrainContext
    optimizer_step: OptimizerStep
    reader: StepReader
    checkpoints: Checkpointer
    evaluations: Evaluations
    live: LiveModel
    spikes: SpikeKeeper
    probing: Probing
    agenda: Agenda

    def finish(self, save: bool) -> None:
        """End what runs beside the training, after a last checkpoint if that is wanted."""
        context = self.context
        context.status.update(state="stopping")
        self.reader.flush()
        context.show_totals()
        if save:
            self.checkpoints.begin()
        with context.activity(Message("writing the checkpoint")):
            self.checkpoints.close()
        self.evaluations.close()
        context.run.metrics.close()
        self.reader.conclude()

    def close(self) -> None:
        """Wait for what is being written."""
        self.optimizer_step.close()
        self.checkpoints.close()
        self.spikes.close()


def set_up(run: Run, job: TrainJob, ranks: Ranks) -> TrainingParts:
    """All that a run needs before its first step. Raises StopRequested where a command says so."""
    checked_rules(job.config.health, own_loop=True)
    refuse_uneven(job.config, ranks.size)
    device, precision = choose_device(job.config, ranks)
    checkpoint = ranks.by_leader(lambda: find_checkpoint(run))
    context = build_context(
        run, job, device, precision, ranks, fresh=checkpoint is None, progress=_Progress(run)
    )
    reader = StepReader(context)
    spikes = SpikeKeeper(context)
    checkpoints = Checkpointer(context, reader)
    rollback = Rollback(context, checkpoints, reader)
    live = LiveModel(context, reader)
    evaluations = Evaluations(context, checkpoints)
    health = HealthActions(context, spikes, rollback, checkpoints)
    if checkpoint is not None:
        resume_from(context, checkpoint)
        checkpoints.saver.adopt(context.step, checkpoint)
        health.catch_up()
    context.parts = max(context.parts, ranks.by_leader(lambda: _parts_after_crashes(run)))
    settings = SettingChanger(context)
    if job.resumes:
        settings.resume(_origin(checkpoint))
    announce_start(context)
    probing = Probing(context)
    agenda = Agenda(
        [
            spikes,
            NonFinitePolicy(context, reader, spikes, rollback, health.diverged_from),
            StageWarnings(context),
            Validation(context, live),
            Sampling(context, live),
            Checkpointing(context, checkpoints),
            Evaluating(context, evaluations),
            health,
            settings,
            TrainingCommands(context, reader, settings, checkpoints, rollback, live, evaluations),
            probing,
            WeightChecksum(context),
        ],
        ranks,
    )
    return TrainingParts(
        context,
        OptimizerStep(context, recorded_steps(context)),
        reader,
        checkpoints,
        evaluations,
        live,
        spikes,
        probing,
        agenda,
    )


def _parts_after_crashes(run: Run) -> int:
    """In how many parts micro-batches are cut after the times that ranks ran out of memory."""
    record = read_supervisor(run.run_dir.supervisor_file)
    return 1 if record is None else 2**record.out_of_memory


class _Progress:
    """Shows how preparing data gets on; of commands only a stop is possible meanwhile."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._pace = PreparationPace()

    def __call__(self, label: str, done: int, total: int) -> None:
        self._run.status.update(activity=self._pace.sentence(label, done, total))
        commands = self._run.commands
        commands.refuse_waiting(
            lambda _: Message("still starting ({activity}); try again soon", activity=label),
            but_stop=True,
        )
        if commands.stop:
            raise StopRequested(commands.stop)


def _origin(checkpoint: Path | None) -> str:
    """Where a resumed run continues, in words."""
    if checkpoint is None:
        return Message("from the start: there is no checkpoint")
    return Message("from {name}", name=checkpoint.name)


if __name__ == "__main__":
    print(_origin(None), _origin(Path("step-000000094")))
    print("=== 自测通过 ===")
