"""The main module of a rank that our supervisor starts: `rank_process MODULE RUN`.

Output and errors go to one log, in their order; a request for stacks that comes before the beats
does nothing; a refused run ends with code 2 and its sentence as the last line of the log.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys


def main(arguments: list[str]) -> None:
    """Run a module, or a file, as the main program with the rest of the arguments."""
    os.dup2(1, 2)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    from lmm_tui.engine.run.rank_records import REFUSED
    from lmm_tui.errors import LmmError

    module, sys.argv[1:] = arguments[0], arguments[1:]
    try:
        if module.endswith(".py"):
            runpy.run_path(module, run_name="__main__")
        else:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except LmmError as error:
        print(error, flush=True)
        sys.exit(REFUSED)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1:])
    else:
        print("=== 自测通过 ===")
