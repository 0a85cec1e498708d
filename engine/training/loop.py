"""The training loop: one optimiser step after another, and what is due between them.

This page is the order of things. What may happen between two steps is decided in one place, the
`Agenda`; each part of it is in a file of its own and shares a `TrainContext` with the others. The
loop writes through a `Run` and knows stages, devices and metrics by their contracts only.
"""

from __future__ import annotations

from contextlib import closing

from lmm_tui.engine.device import is_asynchronous
from lmm_tui.engine.parallel.ranks import ALONE, Ranks
from lmm_tui.engine.run.run import Run
from lmm_tui.engine.training.commands import StopRequested
from lmm_tui.engine.training.non_finite_policy import DivergedError
from lmm_tui.engine.training.parts import TrainingParts, set_up
from lmm_tui.engine.training.steady_collection import SteadyCollection, leave_out_what_is_alive
from lmm_tui.engine.training.step_sums import Signals
from lmm_tui.engine.training.train_job import TrainJob


class Trainer:
    """Trains one run to its end; made and run in the training thread."""

    def __init__(self, run: Run, job: TrainJob, ranks: Ranks = ALONE) -> None:
        """On several `ranks` each makes one, with the same job; `run` of those beside rank 0
        writes nothing."""
        self._run, self._job, self._ranks = run, job, ranks
        self._signals = Signals()

    def ask_to_stop(self) -> None:
        """Have rank 0 end the run with a checkpoint; safe in a signal handler."""
        self._signals.stops = True

    def run(self) -> None:
        """Make all steps, or as many as there are until a command says stop."""
        leave_out_what_is_alive()
        try:
            parts = set_up(self._run, self._job, self._ranks)
        except StopRequested as stop:
            stop.request.save = False  # There is nothing yet.
            return
        parts.context.signals = self._signals
        with closing(parts):
            try:
                self._train(parts)
            except StopRequested as stop:
                parts.finish(save=stop.request.save)
                stop.request.saved = parts.checkpoints.has_current()
            except DivergedError:
                parts.finish(save=True)
                raise
            else:
                parts.finish(save=True)

    def _train(self, parts: TrainingParts) -> None:
        context = parts.context
        alone_on_cpu = self._ranks.is_alone and not is_asynchronous(context.device)
        collection = SteadyCollection(controlled=not alone_on_cpu)
        with collection.training():
            self._make_steps(parts, collection)
        if context.config.log.val_every and context.val_step != context.step:
            parts.live.validate()

    def _make_steps(self, parts: TrainingParts, collection: SteadyCollection) -> None:
        context = parts.context
        self._between_steps(parts, asked=True)
        first = context.step
        while not context.done:
            with context.budget.counting():
                self._step(parts)
                self._between_steps(parts, parts.reader.said.asks)
            if context.step == first + 1:
                self._ranks.hurry(context.config.parallel.timeout_s)
            collection.step(context.step)

    def _step(self, parts: TrainingParts) -> None:
        probing = parts.probing.is_on
        parts.reader.push(parts.optimizer_step.run(probing))
        self._ranks.beats.end_step(parts.context.step)
        if probing:
            parts.live.log_probe()
        parts.reader.flush_if_free()

    def _between_steps(self, parts: TrainingParts, asked: bool) -> None:
        """`asked`: whether rank 0 has something for all."""
        commands = self._run.commands
        with parts.context.observer.speed.excluded():
            parts.agenda.work_off(parts.context.signals, asked, lambda: commands.paused)


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.config.resolve import resolve
    from lmm_tui.engine.run.run import identify
    from lmm_tui.engine.run.run_records import RunStatus
    from lmm_tui.engine.training.train_job import plan_job

    settings = {"data.seq_len": 32, "data.builtin_mb": 0.1, "train.steps": 2, "train.threads": 1}
    shape = {"model.hidden_size": 32, "model.num_layers": 1, "model.vocab_size": 300}
    with tempfile.TemporaryDirectory() as folder:
        job = plan_job(resolve(assignments={"runs_dir": folder, **settings, **shape}))
        with Run(job.run_dir, identify("demo", "pretrain"), RunStatus()) as run:
            Trainer(run, job).run()
        print(run.step, job.run_dir.read_status().state)
        assert run.step == 2
    print("=== 自测通过 ===")
