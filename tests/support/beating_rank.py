"""A rank that makes steps with one other and publishes its beats: `beating_rank RUN`.

While there is a file `stuck` in the run, rank 1 stands in its data and rank 0 waits for it.
"""

import os
import sys
import time

from lmm_tui.engine.parallel.beats import Beats
from lmm_tui.engine.run.run_dir import RunDir


def wait_while(name: str) -> None:
    while (run.path / name).exists():
        time.sleep(0.01)


if __name__ == "__main__":
    run = RunDir(sys.argv[1])
    rank = int(os.environ["RANK"])
    beats = Beats.start(run)
    step = 0
    while not (run.path / "end").exists():
        beats.phase("data")
        if rank == 1:
            wait_while("stuck")
        beats.phase("all-reduce")
        if rank == 0:
            wait_while("stuck")
        time.sleep(0.01)
        step += 1
        beats.end_step(step)
    beats.close()
    os._exit(0)  # A forked interpreter with torch takes seconds to clean up.
