"""One rank of a run: `python -m lmm_tui.engine.training.rank_main RUN_DIR`, under a launcher.

The launcher (ours, torchrun or srun) says in the environment which rank this is. Rank 0 hosts the
run as one process would, with its files and its socket; the others follow it. A run that has begun
continues from its newest checkpoint.
"""

from __future__ import annotations

import signal
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.device import get_device_type
from lmm_tui.engine.parallel.beats import Beats
from lmm_tui.engine.parallel.hangs import Hang
from lmm_tui.engine.parallel.ranks import Ranks
from lmm_tui.engine.run.events import EventLog
from lmm_tui.engine.run.follower_run import FollowerRun
from lmm_tui.engine.run.rank_records import OUT_OF_MEMORY, REFUSED
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import ACTIVE_STATES, RunStatus
from lmm_tui.engine.training.loop import Trainer
from lmm_tui.engine.training.optimizer_step import RankMemoryError
from lmm_tui.engine.training.rank_job import read_job
from lmm_tui.engine.training.run_host import EngineHost
from lmm_tui.engine.training.train_job import TrainJob
from lmm_tui.errors import LmmError


def main(arguments: list[str]) -> int:
    """The exit code: 0, 1 after an unexpected failure, 2 for a run that is refused."""
    run_dir = RunDir(Path(arguments[0]))
    config, resumes = read_job(run_dir)
    beats = Beats.start(run_dir, partial(_tell_hang, run_dir))
    ranks = Ranks.join("cpu" if config.device == "cpu" else get_device_type(), beats)
    try:
        # A restart may come before rank 0 has opened the run.
        resume = run_dir if resumes and run_dir.exists() else None
        return lead(config, resume, ranks) if ranks.leads else follow(ranks)
    finally:
        beats.close()
        ranks.leave()


def lead(config: RunConfig, resume: RunDir | None, ranks: Ranks) -> int:
    """Host the run as rank 0; the exit code."""
    try:
        host = EngineHost(config, resume, ranks)
    except LmmError as error:
        ranks.tell(None)
        print(error, file=sys.stderr)
        return REFUSED
    signal.signal(signal.SIGTERM, lambda *_: host.stop())
    host.start()
    while not host.join(0.5):
        pass  # Signals are taken between waits.
    if host.state != "failed":
        return 0
    print(host.error, file=sys.stderr)
    return _code(host.failure)


def follow(ranks: Ranks) -> int:
    """Take part in the run that rank 0 hosts; the exit code."""
    job: TrainJob | None = ranks.tell(None)
    if job is None:
        return REFUSED
    with closing(FollowerRun(job.run_dir, job.run_dir.read_info(), RunStatus())) as run:
        trainer = Trainer(run, job, ranks)
        signal.signal(signal.SIGTERM, lambda *_: trainer.ask_to_stop())
        try:
            trainer.run()
        except LmmError as error:  # Of rank 0 too, or that of this one's memory.
            print(error, file=sys.stderr)
            return _code(error)
        except RuntimeError:
            # Of a collective, where rank 0 is gone: it may end the run without the others.
            if job.run_dir.read_status().state in ACTIVE_STATES:
                raise
    return 0


def _code(failure: BaseException | None) -> int:
    """The exit code after a failure."""
    if isinstance(failure, RankMemoryError):
        return OUT_OF_MEMORY
    return REFUSED if isinstance(failure, LmmError) else 1


def _tell_hang(run_dir: RunDir, hang: Hang, step: int) -> None:
    """Of rank 0, where no supervisor of ours watches."""
    log = EventLog(run_dir)
    log.write("alert", hang.sentence, step=step, level="warning", rule="hang")
    log.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(sys.argv[1:]))
    print("a rank is started with the directory of its run")
    print("=== 自测通过 ===")
