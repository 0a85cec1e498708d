"""`lmm-tui runs`: a table of runs, the newest first."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from lmm_tui.cli.options import json_option, runs_dir_option
from lmm_tui.engine.run.run_dir import others_can_write
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs.run_list import BROKEN, RunList
from lmm_tui.runs.status_text import runs_table, status_record
from lmm_tui.terminal.safe_text import clean


@click.command("runs")
@runs_dir_option
@json_option
def command(runs_dir: Path, as_json: bool) -> None:
    """List the runs in a folder, and logs of other programs there, the newest first."""
    listed = [run.summary for run in RunList(runs_dir).read()]
    runs = [run for run in listed if run.state != BROKEN]
    broken = [run for run in listed if run.state == BROKEN]
    if as_json:
        click.echo(json.dumps([status_record(run) for run in listed], indent=1, allow_nan=False))
        return
    if runs:
        click.echo(runs_table(runs))
    for run in broken:
        click.echo(clean(tr("broken: {why}", why=translate_message(run.status.error))))
    if others_can_write(runs_dir):
        text = mark("{folder}: other users can write here; run `chmod go-w {quoted}`")
        click.echo(tr(text, folder=runs_dir, quoted=shlex.quote(str(runs_dir))), err=True)
    if not listed:
        click.echo(tr("{folder}: no runs yet; `lmm-tui launch` starts one", folder=runs_dir))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as empty:
        command(["--runs-dir", empty], standalone_mode=False)
    print("=== 自测通过 ===")
