"""The cockpit for any training script, in five lines.

    from lmm_tui import lmm_run

    with lmm_run("runs/mine", total_steps=1000) as run:
        for step, batch in enumerate(batches, start=1):
            loss = train_step(batch)
            run.log(step=step, loss=loss)
            if run.should_stop:
                break

It writes a run directory and opens its control socket, so that `lmm-tui monitor` can watch, pause
and stop the script. Torch is not imported; a row costs about 80 µs.

A run belongs to the process that made it. Of several ranks, rank 0 writes and listens.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lmm_tui import __version__
from lmm_tui.engine.health.health_monitor import HealthMonitor, checked_rules
from lmm_tui.engine.instrument.own_paths import (
    remember,
    resumed_path,
    typed_in,
    unused_path,
)
from lmm_tui.engine.instrument.rank_group import Leader, RankGroup, rank_of_process
from lmm_tui.engine.instrument.script_commands import ScriptCommands, ScriptFunctions
from lmm_tui.engine.instrument.script_metrics import ScriptMetrics
from lmm_tui.engine.instrument.silent_run import SilentRun
from lmm_tui.engine.instrument.whole_numbers import InstrumentError, whole_number
from lmm_tui.engine.run.run import Run, identify
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError
from lmm_tui.engine.run.run_records import ACTIVE_STATES, RunInfo, RunStatus
from lmm_tui.engine.run.status_writer import StatusWriter
from lmm_tui.errors import LmmError
from lmm_tui.message import Message
from lmm_tui.metrics.tracker import Scalar, TrainingTracker

_LOGS_BEFORE_MEETING = 2


def lmm_run(
    path: Path | str,
    total_steps: int = 0,
    *,
    stage: str = "script",
    model: str = "",
    references: Mapping[str, float] | None = None,
    checkpoint: Callable[[], object] | None = None,
    probe: Callable[[], Mapping[str, float]] | None = None,
    evaluate: Callable[[], Mapping[str, float]] | None = None,
    sample: Callable[[str], str] | None = None,
    health: Mapping[str, Any] | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    rank: int | None = None,
) -> ScriptRun | SilentRun:
    """A run in the directory `path`; use it in a `with`, else it ends with the interpreter.

    `stage="pretrain"` means that the model starts untrained, so that its loss is compared with
    `references`, the baselines in nats (`ln V`, `unigram`, `bigram`). The functions are called
    between two steps, on request. `health` has the keys of a configuration's `[health]` section
    except rollback. `resume` continues an existing run.

    Call it on every rank: rank 0 writes, the others get a run that writes nothing but obeys
    commands. `rank` overrides what torch.distributed or the launcher's environment say.

    Where a notebook's cell is run again, the run that it has open ends, and `mine` becomes
    `mine-2`. Raises RunDirError if the directory holds a run already or is in
    use, ConfigError and HealthConfigError for `health`, InstrumentError for other
    arguments.
    """
    functions = ScriptFunctions(checkpoint, probe, evaluate, sample)
    given = Path(path).absolute()  # The script may change its directory.
    if rank_of_process(rank) != 0:
        return SilentRun(functions)
    place = given
    if typed_in(sys._getframe(1).f_code.co_filename):
        place = resumed_path(given) if resume else unused_path(given)
    run = ScriptRun(
        RunDir(place),
        stage=stage,
        model=model,
        references={name: float(value) for name, value in (references or {}).items()},
        total_steps=whole_number("total_steps", total_steps),
        functions=functions,
        health=_health_section(health or {}),
        resume=resume,
        tensorboard=tensorboard,
    )
    remember(run)
    return run


class ScriptRun(Run):
    """The run of a script; made by `lmm_run`, used in one thread."""

    def __init__(
        self,
        run_dir: RunDir,
        *,
        stage: str,
        model: str,
        references: Mapping[str, float],
        total_steps: int,
        functions: ScriptFunctions,
        health: Any,
        resume: bool,
        tensorboard: bool,
    ) -> None:
        before = _earlier(run_dir, resume)
        step = run_dir.read_status().step if before else 0
        super().__init__(
            run_dir,
            identify(
                run_dir.name,
                stage,
                before,
                packages={"lmm-tui": __version__},
                model=model,
                references=dict(references),
            ),
            RunStatus("running", step, total_steps),
            needs_socket=False,
            tensorboard=tensorboard,
        )
        self.entered = False
        """Whether a `with` block of this run is being executed."""
        self._resuming = before is not None
        self._tensorboard = tensorboard
        self._rows = ScriptMetrics(self.metrics, self.status)
        self._health = HealthMonitor(
            health, self.events, own_loop=False, from_scratch=stage == "pretrain"
        )
        self._health.hold_to(references)
        self._health.on_verdict = lambda verdict: self.status.update(verdict=verdict.record())
        self.on_row(self._health.observe)
        self.on_close(self._health.close)
        self._functions = ScriptCommands(self, functions, self._amend_row)
        self._ranks = RankGroup()
        self._logs_unmet = 0
        atexit.register(self._close_at_exit)
        self.on_close(lambda: atexit.unregister(self._close_at_exit))
        self.events.write("resume" if before else "start", stage, step=step)

    @property
    def step(self) -> int:
        """The last step logged."""
        return self.metrics.step

    @property
    def should_stop(self) -> bool:
        """Whether a stop was requested; check it once a step, on every rank."""
        self._require_own_process()
        leader = self._leader()
        if leader is None or self.closed:
            self._serve()
        elif self.commands.stop is None and leader.due():
            self._serve()
            if self.commands.stop is None:
                leader.release()
        return self.commands.stop is not None

    def log(
        self,
        numbers: Mapping[str, Scalar] | None = None,
        /,
        *,
        step: int | None = None,
        tokens: int | None = None,
        **more: Scalar,
    ) -> None:
        """Write a row, carry out pending commands, and block while the run is paused.

        Numbers may be tensors; their names are ours (`train/loss`), those of other programs
        (`loss`, `eval_loss`, `lr`, `grad_norm`), or any other. `step` is an optimiser step, by
        default the next one; `tokens` is the total so far. A row of an earlier step joins the row
        of that step. After the end, numbers can be added to the steps that there are. Raises
        InstrumentError for a value that is not a number, a step that is not a whole one, a step
        that a metric has passed, and in a process forked from the run's.
        """
        at = None if step is None else whole_number("step", step)
        seen = None if tokens is None else whole_number("tokens", tokens)
        self._require_own_process()
        values = {**(numbers or {}), **more}
        if self.closed:
            self._log_after_end(values, at)
            return
        if self._resuming and at is not None:
            self._resume_at(at)
        if at is not None and at < self.step:
            self._rows.log_late(values, at)
        else:
            row = self._rows.log(values, at, seen)
            self.tell_row(self.step, row)
        if not self._ranks.found():
            self._serve()
        elif self._functions.leader is None:
            self._logs_unmet += 1
            if self._logs_unmet > _LOGS_BEFORE_MEETING:
                self._functions.refuse_unmet()

    def retire(self) -> None:
        """End it because the script begins another run at its path."""
        total = self.status.status.total_steps
        cut_short = not total or self.step < total
        self.close(KeyboardInterrupt() if cut_short else None)

    def __enter__(self) -> ScriptRun:
        self.entered = True
        return super().__enter__()

    def __exit__(self, *how: Any) -> None:
        self.entered = False
        super().__exit__(*how)

    def _close_at_exit(self) -> None:
        """Without `with`: the interpreter keeps an uncaught exception in `sys.last_value`."""
        self.close(getattr(sys, "last_value", None))

    def _require_own_process(self) -> None:
        if not self.in_own_process:
            raise InstrumentError(
                "{name}: is the run of process {pid}, and this is a child of it; "
                "log there, or make another run here",
                name=self.run_dir.name,
                pid=self.info.pid,
            )

    def _leader(self) -> Leader | None:
        """Rank 0's side, once the script has initialised torch.distributed for several ranks."""
        if self._functions.leader is None and self._ranks.found():
            self._functions.leader = leader = Leader(self._ranks)
            self.on_close(leader.end)
        return self._functions.leader

    def _serve(self) -> None:
        with self._rows.excluded():
            self._answer_alerts()
            self.commands.serve()

    def _log_after_end(self, numbers: Mapping[str, Scalar], at: int | None) -> None:
        """As by an evaluation after the training."""
        if at is None or at > self.step:
            raise InstrumentError(
                "{name}: the run has ended; pass step={step} to add to its last "
                "row, or continue it by lmm_run(…, resume=True)",
                name=self.run_dir.name,
                step=self.step,
            )
        with self.run_dir.lock():
            status = StatusWriter(self.run_dir, self.run_dir.read_status())
            tracker = TrainingTracker(self.run_dir.path, tensorboard=self._tensorboard)
            tracker.step = self.step
            try:
                self._rows.write_to(tracker, status)
                self._rows.log_late(numbers, at)
            finally:
                tracker.close()
                status.close()

    def _amend_row(self, numbers: Mapping[str, float]) -> None:
        self.tell_row(self.step, self._rows.amend(numbers))

    def _answer_alerts(self) -> None:
        for due in self._health.due():
            try:
                done = (
                    self._functions.pause()
                    if due.action == "pause"
                    else self._functions.checkpoint()
                )
            except LmmError as error:
                done = str(error)
            self.events.write(
                "alert",
                Message("{rule}: {done}", rule=due.rule, done=done),
                step=self.step,
                rule=due.rule,
            )

    def _resume_at(self, step: int) -> None:
        """The first step logged after a resume determines where the run continues."""
        self._resuming = False
        self._health.catch_up(self.run_dir.metrics, step - 1)
        self.metrics.step = step - 1
        self.resume_after(step - 1, Message("from step {step}", step=step - 1))


def _earlier(run_dir: RunDir, resume: bool) -> RunInfo | None:
    """What the directory holds before; raises RunDirError unless it is to be resumed."""
    if not run_dir.exists():
        return None
    before = run_dir.read_info()
    if before.pid == os.getppid() and run_dir.read_status().state in ACTIVE_STATES:
        raise RunDirError(
            "{path}: is the run of the script that started this process; make it "
            "once: under `if __name__ == '__main__'`, after init_process_group, "
            "or with rank=",
            path=run_dir.path,
        )
    if not resume:
        raise RunDirError(
            "{path}: holds a run already; choose another path, or pass resume=True",
            path=run_dir.path,
        )
    return before


def _health_section(given: Mapping[str, Any]) -> Any:
    from lmm_tui.engine.config.resolve import resolve

    if given.get("rollback"):
        raise InstrumentError("health.rollback: only our own loop can go back; use pause")
    section = resolve(assignments={f"health.{key}": value for key, value in given.items()}).health
    checked_rules(section, own_loop=False)  # Before there is a run.
    return section


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder, lmm_run(f"{folder}/mine", 3) as run:
        run.log(step=1, loss=3.0, lr=1e-3)
        run.close()
        print((Path(folder) / "mine" / "metrics.jsonl").read_text())
    print("=== 自测通过 ===")
