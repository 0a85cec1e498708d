"""`lmm-tui runs`: a table of runs, the newest first."""

from __future__ import annotations

from pathlib import Path

import click

from lmm_tui.cli.options import runs_dir_option
from lmm_tui.i18n.language import tr
from lmm_tui.runs.run_list import RunList
from lmm_tui.runs.status_text import runs_table


@click.command("runs")
@runs_dir_option
def command(runs_dir: Path) -> None:
    """List the runs in a folder, and logs of other programs there, the newest first."""
    runs = [run.summary for run in RunList(runs_dir).read()]
    if runs:
        click.echo(runs_table(runs))
    else:
        click.echo(tr("{folder}: no runs yet; `lmm-tui launch` starts one", folder=runs_dir))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as empty:
        command(["--runs-dir", empty], standalone_mode=False)
    print("=== 自测通过 ===")
