"""`lmm-tui runs [FILTER…]`: a table of runs, the newest first."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lmm_tui.cli.options import echo_json, json_option, runs_dir_option
from lmm_tui.engine.run.run_dir import others_can_write
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics.formula_cells import quoted_formula
from lmm_tui.metrics.values import strict
from lmm_tui.runs.run_columns import RunColumns
from lmm_tui.runs.run_details import RunDetails
from lmm_tui.runs.run_filter import columns_of, filtered, without_archived
from lmm_tui.runs.run_list import BROKEN, ListedRun, RunList
from lmm_tui.runs.status_text import runs_table, status_record, table_text
from lmm_tui.terminal.safe_text import clean

CSV_COLUMNS = "name,state,health,stage,group,tag,model,step,tokens,loss,val,differing"


@click.command("runs")
@click.argument("words", metavar="[FILTER]...", nargs=-1)
@runs_dir_option
@click.option(
    "--columns",
    metavar="A,B",
    help="Columns, and settings such as lr; `differing`: those in which the runs differ",
)
@click.option("--sort", metavar="COLUMN", help="Smallest first; -COLUMN: largest first")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values, for a spreadsheet")
@json_option
def command(
    words: tuple[str, ...],
    runs_dir: Path,
    columns: str | None,
    sort: str | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """List the runs in a folder, and logs of other programs there, the newest first.

    FILTER is words to look for, and comparisons that must hold: lr<1e-3 stage=sft tag=night val>2
    model~mini.
    """
    everything = RunList(runs_dir).read()
    listed = without_archived(everything, words)
    asked = columns or (CSV_COLUMNS if as_csv else "")
    wanted = [name.strip() for name in asked.split(",") if name.strip()]
    known = RunColumns(listed, RunDetails(runs_dir))
    known.read_digests([*wanted, *columns_of(words), sort or ""])
    runs = filtered(listed, words, known) if words else listed
    if sort:
        runs = known.sorted(runs, known.known(sort.removeprefix("-")), sort.startswith("-"))
    whole = [run for run in runs if run.summary.state != BROKEN]
    names = known.chosen(wanted, whole)
    if as_json:
        records = [_record(run) | _values(run, names, known) for run in runs]
        echo_json(records)
        return
    if names:
        text = _csv(whole, names, known) if as_csv else columns_table(whole, names, known)
        click.echo(text, nl=False)
        return
    if whole:
        click.echo(runs_table([run.summary for run in whole]))
    for run in runs:
        if run.summary.state == BROKEN:
            why = translate_message(run.summary.status.error)
            click.echo(clean(tr("broken: {why}", why=why)))
    if others_can_write(runs_dir):
        text = mark("{folder}: other users can write here; run `chmod go-w {quoted}`")
        click.echo(tr(text, folder=runs_dir, quoted=shlex.quote(str(runs_dir))), err=True)
    if archived := len(everything) - len(listed):
        text = mark("{count} archived runs are not listed; `lmm-tui runs tag=archived` lists them")
        click.echo(tr(text, count=archived), err=True)
    if not everything:
        click.echo(tr("{folder}: no runs yet; `lmm-tui launch` starts one", folder=runs_dir))
    elif words and not runs:
        click.echo(tr("none of {count} runs is like that", count=len(listed)))


def _values(run: ListedRun, names: Sequence[str], columns: RunColumns) -> dict[str, Any]:
    """The chosen columns of a run, where there are any."""
    broken = run.summary.state == BROKEN
    values = {name: None if broken else strict(columns.value(run, name)) for name in names}
    return {"columns": values} if names else {}


def _record(run: ListedRun) -> dict[str, Any]:
    return status_record(run.summary) | {"tags": [*run.tags], "note": run.note}


def _csv(runs: Sequence[ListedRun], names: Sequence[str], columns: RunColumns) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for run in runs:
        writer.writerow([_cell(columns.value(run, name)) for name in names])
    return text.getvalue()


def _cell(value: Any) -> Any:
    return quoted_formula(clean(value)) if isinstance(value, str) else strict(value)


def _shown(columns: RunColumns, run: ListedRun, name: str) -> str:
    if name == "curve":
        from lmm_tui.charts.sparkline import written_curve  # It imports numpy.

        return written_curve(columns.value(run, name))
    return clean(columns.text(run, name))


def columns_table(runs: Sequence[ListedRun], names: Sequence[str], columns: RunColumns) -> str:
    """Columns by their full names, a line a run."""
    head = [name.rpartition(".")[2].upper() for name in names]
    rows = [[_shown(columns, run, name) for name in names] for run in runs]
    right = {
        at
        for at, name in enumerate(names)
        if any(type(columns.value(run, name)) in (int, float) for run in runs)
    }
    return table_text([head, *rows], right) + "\n"


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as empty:
        command(["--runs-dir", empty], standalone_mode=False)
    print("=== 自测通过 ===")
