"""`lmm-tui spikes [RUN] [STEP]`: the batches that a run saved at loss or gradient spikes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from lmm_tui.cli.options import echo_json, runs_dir_option
from lmm_tui.engine.run.find_run import find_run
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.spike_files import list_spikes, read_spike
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.terminal.safe_text import clean


@click.command("spikes")
@click.argument("run", required=False)
@click.argument("step", required=False, type=click.IntRange(min=1))
@runs_dir_option
@click.option("--json", "as_json", is_flag=True, help="JSON, its keys stable")
def command(run: str | None, step: int | None, runs_dir: Path, as_json: bool) -> None:
    """List the spikes of RUN (a name or a path; default: the newest run), or show that of STEP.

    A spike is kept with its worst sequences: text, tokens and their losses. To roll back to before
    it and skip the batch: `lmm-tui send RUN rollback before=STEP`.
    """
    found = find_run(run, runs_dir)
    if step is None:
        _list(found, as_json)
        return
    spike = read_spike(found.spikes, step)
    if as_json:
        echo_json(asdict(spike))
        return
    from rich.console import Console

    from lmm_tui.runs.spike_text import spike_body, spike_heading

    console = Console(highlight=False, markup=False)
    console.print(spike_heading(spike))
    console.print(spike_body(spike))


def _list(run: RunDir, as_json: bool) -> None:
    spikes = [read_spike(run.spikes, step) for step in list_spikes(run.spikes)]
    if as_json:
        echo_json([{"step": one.step, "rule": one.rule, "what": one.what} for one in spikes])
        return
    if not spikes:
        click.echo(tr("{run}: no spikes yet", run=clean(run.name)))
    for one in spikes:
        click.echo(f"{one.step:>9,}  {clean(one.rule):<11} {clean(translate_message(one.what))}")


if __name__ == "__main__":
    from lmm_tui.errors import LmmError

    try:
        command(["demo", "--runs-dir", "no-such-folder"], standalone_mode=False)
    except LmmError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
