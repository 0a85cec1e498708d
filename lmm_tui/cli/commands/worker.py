"""`lmm-tui worker SWEEP`: work on a sweep that is there, from this process or machine."""

from __future__ import annotations

from pathlib import Path

import click

from lmm_tui.cli.commands.sweep import work
from lmm_tui.cli.options import runs_dir_option


@click.command("worker")
@click.argument("sweep")
@runs_dir_option
def command(sweep: str, runs_dir: Path) -> int:
    """Train trials of SWEEP, beside other workers or after one that was killed.

    Trials that a dead worker left are taken over. On another machine, or as a Slurm array: the
    same command on the same folder.
    """
    from lmm_tui.sweeps.sweep_plan import SweepFolder

    folder = SweepFolder(runs_dir, sweep)
    folder.read()
    return work(folder)


if __name__ == "__main__":
    from lmm_tui.sweeps.axes import SweepError

    try:
        command(["none"], standalone_mode=False)
    except SweepError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
