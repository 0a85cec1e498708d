"""`lmm-tui` alone: the list of the runs in the default folder, or the form where there is none."""

from __future__ import annotations

from pathlib import Path

from lmm_tui.terminal import first_paint


def open_cockpit() -> int:
    """Open it; returns the exit code. Runs that are started there train in their own process.

    Raises NotInstalledError where there are neither runs nor what trains one.
    """
    first_paint.hurry()
    from lmm_tui.cli.launcher import launch_cockpit, monitor_cockpit
    from lmm_tui.engine.run.find_run import run_folders
    from lmm_tui.engine.run.run_dir import RUNS_DIR

    if run_folders(RUNS_DIR):
        return monitor_cockpit(None, runs_dir=Path(RUNS_DIR))
    from lmm_tui import installation
    from lmm_tui.engine.config.run_config import RunConfig

    installation.require_training()
    return launch_cockpit(RunConfig.defaults(), configure=True, detach=True)


if __name__ == "__main__":
    print(open_cockpit.__doc__)
    print("=== 自测通过 ===")
