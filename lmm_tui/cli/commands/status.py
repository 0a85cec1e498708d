"""`lmm-tui status [RUN]`: the state of a run, as text or JSON."""

from __future__ import annotations

from pathlib import Path

import click

from lmm_tui.cli.options import echo_json, json_option, runs_dir_option
from lmm_tui.engine.run.find_run import find_run
from lmm_tui.engine.run.reader import Reader
from lmm_tui.runs.status_text import RunSummary, status_record, status_sheet


@click.command("status")
@click.argument("run", required=False)
@runs_dir_option
@json_option
def command(run: str | None, runs_dir: Path, as_json: bool) -> None:
    """Show how RUN (a name or a path; default: the newest run) is doing.

    The state is what the run says of itself, or `stale` (silent for 10 s) or `crashed`.
    """
    summary = RunSummary.of(Reader(find_run(run, runs_dir).path))
    if as_json:
        echo_json(status_record(summary))
    else:
        click.echo(status_sheet(summary))


if __name__ == "__main__":
    from lmm_tui.errors import LmmError

    try:
        command(["--runs-dir", "no-such-folder"], standalone_mode=False)
    except LmmError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
