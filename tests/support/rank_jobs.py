"""One rank of a group that trains several runs, one after another, as `rank_main` does each.

`rank_jobs.py JOBS`: a JSON file with a list of settings, each with `runs_dir` and `name`; a run
that exists is continued. The environment says which rank this is.
"""

import json
import sys
from pathlib import Path

from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.parallel.ranks import Ranks
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.training.rank_main import follow, lead

if __name__ == "__main__":
    ranks = Ranks.join("cpu")
    code = 0
    for settings in json.loads(Path(sys.argv[1]).read_text()):
        config = resolve(assignments=settings)
        run_dir = RunDir(Path(config.runs_dir) / str(config.name))
        resume = run_dir if ranks.tell(run_dir.exists()) else None
        code |= lead(config, resume, ranks) if ranks.leads else follow(ranks)
    ranks.leave()
    sys.exit(code)
