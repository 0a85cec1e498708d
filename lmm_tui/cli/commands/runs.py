"""`lmm-tui runs`: a table of runs, the newest first."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lmm_tui.cli.options import json_option, runs_dir_option
from lmm_tui.engine.run.find_run import list_runs
from lmm_tui.i18n.language import tr
from lmm_tui.runs.status_text import RunSummary, runs_table, status_record


@click.command("runs")
@runs_dir_option
@json_option
def command(runs_dir: Path, as_json: bool) -> None:
    """List the runs in a folder, and logs of other programs there, the newest first."""
    runs = [RunSummary.of(run) for run in list_runs(runs_dir)]
    if _has_others(runs_dir, {run.path for run in runs}):
        from lmm_tui.runs.log_list import LogList

        runs += LogList(runs_dir).read()
        runs.sort(key=lambda run: run.info.started, reverse=True)
    if as_json:
        click.echo(json.dumps([status_record(run) for run in runs], indent=1, allow_nan=False))
    elif runs:
        click.echo(runs_table(runs))
    else:
        click.echo(tr("{folder}: no runs yet; `lmm-tui launch` starts one", folder=runs_dir))


def _has_others(folder: Path, runs: set[Path]) -> bool:
    """Whether there is anything besides runs of ours: logs take longer to look for."""
    try:
        return any(not one.name.startswith(".") and one not in runs for one in folder.iterdir())
    except OSError:
        return False


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as empty:
        command(["--runs-dir", empty], standalone_mode=False)
    print("=== 自测通过 ===")
