"""One rank of a run: `python -m lmm_tui.engine.training.rank_main RUN_DIR`, under a launcher.

The launcher (ours, torchrun or srun) says in the environment which rank this is. Rank 0 hosts the
run as one process would, with its files and its socket; the others follow it. A run that has begun
continues from its newest checkpoint.
"""

from __future__ import annotations

import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_settings import settings_of
from lmm_tui.engine.parallel.ranks import Ranks
from lmm_tui.engine.run.follower_run import FollowerRun
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunStatus
from lmm_tui.engine.stages.oom_split import MemoryExhaustedError
from lmm_tui.engine.training.loop import Trainer
from lmm_tui.engine.training.run_host import EngineHost
from lmm_tui.engine.training.train_job import TrainJob
from lmm_tui.errors import LmmError

OUT_OF_MEMORY = 77
"""The exit code of a rank that ran out of memory: a restart may cut micro-batches smaller."""


def main(arguments: list[str]) -> int:
    """The exit code: 0, 1 after an unexpected failure, 2 for a run that is refused."""
    run_dir = RunDir(Path(arguments[0]))
    resumes = run_dir.exists()
    config = settings_of(run_dir) if resumes else resolve(run_dir.config)
    ranks = Ranks.join("cpu" if config.device == "cpu" else _device_type())
    try:
        return _lead(config, run_dir, resumes, ranks) if ranks.leads else _follow(ranks)
    finally:
        ranks.leave()


def _lead(config: Any, run_dir: RunDir, resumes: bool, ranks: Ranks) -> int:
    try:
        host = EngineHost(config, run_dir if resumes else None, ranks)
    except LmmError as error:
        ranks.tell(None)
        print(error, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: host.stop())
    host.start()
    while not host.join(0.5):
        pass  # Signals are taken between waits.
    if host.state != "failed":
        return 0
    print(host.error, file=sys.stderr)
    return 2 if host.refused else 1


def _follow(ranks: Ranks) -> int:
    job: TrainJob | None = ranks.tell(None)
    if job is None:
        return 2
    with closing(FollowerRun(job.run_dir, job.run_dir.read_info(), RunStatus())) as run:
        trainer = Trainer(run, job, ranks)
        signal.signal(signal.SIGTERM, lambda *_: trainer.ask_to_stop())
        try:
            trainer.run()
        except MemoryExhaustedError:
            return OUT_OF_MEMORY
        except RuntimeError:
            # Of a collective, where rank 0 is gone: it ends the run without the others.
            if job.run_dir.read_status().state in ("running", "starting", "paused"):
                raise
        except LmmError as error:  # Rank 0 has it too, and says it.
            print(error, file=sys.stderr)
            return 2
    return 0


def _device_type() -> str:
    from lmm_tui.engine.device import get_device_type

    return get_device_type()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(sys.argv[1:]))
    print("a rank is started with the directory of its run")
    print("=== 自测通过 ===")
