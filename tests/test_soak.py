"""The soak benchmark in small: what it counts as a kill, and that it finds nothing lost."""

import subprocess
import sys
from pathlib import Path

from repository import ROOT

SMALL = """
from pathlib import Path
from benchmarks.soak import soak
if __name__ == "__main__":
    print(soak(Path({place!r}), random_kills=1, aimed_kills=1))
"""


def test_a_run_killed_at_random_and_inside_a_write_loses_nothing(tmp_path: Path) -> None:
    code = SMALL.format(place=str(tmp_path))
    program = [sys.executable, "-c", code]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Outcome(at_random=1, inside_a_write=1, " in done.stdout, done.stderr
    assert done.stdout.endswith("trouble=[])\n")
