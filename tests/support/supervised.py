"""The script that supervises ranks in a test: `supervised RUN WORKER RANKS RESTARTS GRACE`."""

import os
import sys

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.runs.ranks.nodes import Nodes
from lmm_tui.runs.ranks.shared_store import keep_store
from lmm_tui.runs.ranks.supervisor import Group, run_group

if __name__ == "__main__":
    folder, worker, ranks, restarts, grace_s = sys.argv[1:]
    run = RunDir(folder)
    run.ranks.mkdir(parents=True)
    store, address = keep_store(("127.0.0.1", 0), 20.0)
    group = Group(run, Nodes(), address, int(ranks), int(restarts), float(grace_s), 20.0, (worker,))
    code = run_group(group, store)
    sys.stderr.flush()
    os._exit(code)  # A forked interpreter with torch takes seconds to clean up.
