"""`lmm-tui monitor [RUN]`: the cockpit of a run that trains elsewhere or has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from lmm_tui.cli.options import no_mouse_option, runs_dir_option
from lmm_tui.engine.run.find_run import find_path, holds_runs, list_runs
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.terminal import capabilities


@click.command("monitor")
@click.argument("names", metavar="[RUN]", nargs=-1)
@runs_dir_option
@no_mouse_option
def command(names: tuple[str, ...], runs_dir: Path, no_mouse: bool) -> int:
    """Watch and steer RUN (a name, a path, a foreign log or HOST:PATH; default: the newest).

    Where there is no run yet it opens the list of runs, and waits for one. A folder with the logs
    of several runs opens their list. HOST: or HOST:FOLDER/, or several of them, open one list of
    the runs of all these machines.
    """
    if any(":" in name for name in names) and capabilities.can_host_app():
        from lmm_tui.runs.remote.fleet import is_fleet

        if is_fleet(names):
            return _monitor_fleet(names, mouse=not no_mouse)
    if len(names) > 1:
        raise LmmError(
            "monitor shows one run, or the runs of several machines, as hostA: hostB:runs"
        )
    run = names[0] if names else None
    if run is not None and ":" in run and capabilities.can_host_app():
        from lmm_tui.cli.launcher import monitor_cockpit
        from lmm_tui.runs.remote.mirror import is_remote, mirrored
        from lmm_tui.terminal.early_signals import early_signals

        if is_remote(run):
            # What they do by default would end this process at once, and leave its ssh behind.
            with early_signals() as early, mirrored(run, early) as mirror:
                return monitor_cockpit(mirror, mouse=not no_mouse, called=run, early=early)
    waits = run is None and not list_runs(runs_dir) and capabilities.can_host_app()
    chosen = None if waits else RunDir(find_path(run, runs_dir))
    if chosen is not None and holds_runs(chosen.path):
        runs_dir, chosen = chosen.path, None
    if not capabilities.can_host_app():
        raise LmmError(
            "monitor needs a terminal; `lmm-tui status` and `lmm-tui plot --text` do without"
        )
    from lmm_tui.cli.launcher import monitor_cockpit

    beside = None if chosen and chosen.exists() else runs_dir
    return monitor_cockpit(chosen, runs_dir=beside, mouse=not no_mouse, named=run is not None)


def _monitor_fleet(names: Sequence[str], *, mouse: bool) -> int:
    from lmm_tui.cli.launcher import monitor_cockpit
    from lmm_tui.runs.remote.fleet import fleet
    from lmm_tui.terminal.early_signals import early_signals

    with early_signals() as early, fleet(names, early) as folder:
        return monitor_cockpit(None, runs_dir=folder, mouse=mouse, early=early)


if __name__ == "__main__":
    try:
        command(["--runs-dir", "no-such-folder"], standalone_mode=False)
    except LmmError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
