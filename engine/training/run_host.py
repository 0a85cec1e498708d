"""Hosts one run of our own loop: opens it as a `Run` and trains in a thread.

Cockpit, headless command and detached process all start runs here. Torch is imported only when
the loop starts, so that a screen can be shown before.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING

from lmm_tui import __version__
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.trust import UntrustedError, allow_own
from lmm_tui.engine.health.run_notifications import RunNotifications
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.environment import package_versions
from lmm_tui.engine.run.run import Run, failure, identify
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunInfo, RunStatus
from lmm_tui.engine.training.freed_memory import keep_freed_memory
from lmm_tui.engine.training.train_job import TrainJob, plan_job
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import remove
from lmm_tui.message import Message
from lmm_tui.metrics.stages.built_in import BUILT_IN
from lmm_tui.metrics.stages.stage_info import StageInfo

if TYPE_CHECKING:
    from lmm_tui.engine.parallel.ranks import Ranks


class EngineHost:
    """One run, from its first file to its last.

    With `resume` the run continues in its own directory from its newest checkpoint. Raises
    LmmError where the directory cannot be used; nothing is overwritten then.
    """

    def __init__(
        self, config: RunConfig, resume: RunDir | None = None, ranks: Ranks | None = None
    ) -> None:
        self._ranks = ranks
        """The processes that train the run together; None where this is the only one."""
        self._job = job = plan_job(config, resume, is_made=ranks is not None)
        self.config, self.run_dir = job.config, job.run_dir
        self.state = "starting"
        self.error = ""
        self.refused = False
        """Whether `error` is a sentence for a person, as for settings that cannot be trained."""
        self.failure: BaseException | None = None
        about = _about_stage(job.config.stage)
        # Where they follow from data or time they are not known yet.
        steps = job.config.train.steps if job.config.train.length_key == "steps" else 0
        self._run = Run(
            job.run_dir,
            _identity(job, about),
            RunStatus(total_steps=steps),
            config=job.config_text,
            log_output=True,
            tensorboard=job.config.log.tensorboard,
            likelihood=about.likelihood,
        )
        self.mailbox, self.status = self._run.commands.mailbox, self._run.status
        self._notifications = RunNotifications(
            job.config.notify, job.run_dir.name, self._tell_failure
        )
        self._run.events.on_event = self._notifications.event
        self._run.on_row(self._look_for_target)
        if not job.resumes:
            self._allow_own_commands()
        if job.run_dir.others_can_write():
            self._run.alert(
                Message(
                    "{parent}: other users can write here, and put another run "
                    "in the place of this one; take that right away (chmod go-w)",
                    parent=job.run_dir.path.parent,
                )
            )
        if job.renamed_from:
            self._run.events.write(
                "start",
                Message(
                    "{asked} has the first weights; this run is {name}",
                    asked=job.renamed_from,
                    name=job.run_dir.name,
                ),
                step=0,
            )

    def start(self, nice: int = 0) -> None:
        """Run in a new thread; the caller joins it.

        `nice`, as in nice(2), lowers the priority of this thread and of those it starts below the
        others of the process; only Linux has that for threads.
        """
        keep_freed_memory()
        self._thread = threading.Thread(target=self._run_in_thread, args=(nice,), name="train")
        self._thread.start()

    def _run_in_thread(self, nice: int) -> None:
        if nice and sys.platform == "linux":
            os.nice(nice)
        self.run()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the run to end; True once it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stop(self) -> Future[Reply]:
        """Request a stop with a checkpoint; safe in a signal handler."""
        return self.mailbox.send("stop")

    @property
    def saved(self) -> bool:
        """Whether the checkpoint at the end was written, if one was requested."""
        stop = self._run.commands.stop
        if stop is None:
            return self.state == "finished"
        return stop.saved or not stop.save

    def refusal(self) -> LmmError:
        """The error of a refused run; the directory of a new one without a step is removed."""
        if not self._job.resumes and not self.status.status.step:
            remove(self.run_dir.path, self.run_dir.path.parent)
        return LmmError(self.error)

    def run(self) -> str:
        """Train to the end in this thread; returns `finished`, `stopped` or `failed`."""
        try:
            from lmm_tui.engine.parallel.ranks import ALONE
            from lmm_tui.engine.training.loop import Trainer

            ranks = self._ranks or ALONE
            Trainer(self._run, ranks.tell(self._job), ranks).run()
        except LmmError as error:
            self.failure = error
            self._fail(str(error), "")
        except BaseException as error:
            self.failure = error
            # An exception that leaves a thread would not be reported.
            self._fail(failure(error), traceback.format_exc())
            if not isinstance(error, Exception):
                raise
        finally:
            self._run.close()
            self._notifications.close()
            self.state = self.status.status.state
        return self.state

    def _fail(self, sentence: str, details: str) -> None:
        self.error, self.refused = details or sentence, not details
        self._run.fail(sentence, details)

    def _look_for_target(self, step: int, row: Mapping[str, float]) -> None:
        if said := self._notifications.met(row):
            self._run.events.write("target", said, step=step)

    def _tell_failure(self, sentence: str) -> None:
        if not self._run.closed:
            self._run.alert(sentence, level="info")

    def _allow_own_commands(self) -> None:
        """Remember what this user started with, so that a resume need not ask."""
        try:
            allow_own(self.config, self.run_dir.path)
        except UntrustedError as error:
            self._run.alert(Message("a resume of this run will need --trust: {error}", error=error))


def _about_stage(stage: str) -> StageInfo:
    """Raises LmmError where a stage of the user's own cannot be imported."""
    if stage in BUILT_IN:
        return BUILT_IN[stage]
    from lmm_tui.engine.stages.base import stage_class

    return stage_class(stage).info


def _identity(job: TrainJob, stage: StageInfo) -> RunInfo:
    before = job.run_dir.read_info() if job.resumes else None
    return identify(
        job.run_dir.name,
        stage.name,
        before,
        group=job.config.group,
        stage_info={} if stage.name in BUILT_IN else stage.record(),
        model=job.config.model.preset,
        packages={"lmm-tui": __version__, **package_versions()},
        earlier_s=before.seconds_at(job.run_dir.read_status().heartbeat) if before else 0,
    )


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.config.resolve import resolve

    with tempfile.TemporaryDirectory() as folder:
        host = EngineHost(resolve(assignments={"runs_dir": folder, "data.source": "none"}))
        print(host.run(), host.error)
    print("=== 自测通过 ===")
