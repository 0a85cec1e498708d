"""`lmm-tui report RUN… -o report.html`: runs as one page for the browser, or as Markdown."""

from __future__ import annotations

from pathlib import Path

import click

from lmm_tui.cli.options import runs_dir_option
from lmm_tui.engine.run.find_run import find_path
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import SHARED, replace_text
from lmm_tui.message import os_reason
from lmm_tui.terminal.safe_text import clean


@click.command("report")
@click.argument("runs", nargs=-1)
@runs_dir_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="report.html",
    show_default=True,
    help="What to write: .html or .md",
)
@click.option("--title", metavar="TEXT", help="Its heading; default: the names of the runs")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this; repeatable")
def command(
    runs: tuple[str, ...],
    runs_dir: Path,
    output: Path,
    title: str | None,
    metrics: tuple[str, ...],
) -> None:
    """Write a report on RUNS (names, paths or foreign logs; default: the newest).

    One self-contained file: curves to zoom and overlay, settings that differ, what happened,
    samples, evaluation, environment.
    """
    from lmm_tui.report.report_data import MOST_RUNS, collect

    if output.suffix not in (".html", ".md"):
        raise LmmError(
            "{output}: a report is .html or .md; choose one of these endings", output=output
        )
    if len(runs) > MOST_RUNS:
        raise LmmError("a report has at most {most_runs} runs; leave some out", most_runs=MOST_RUNS)
    paths = [find_path(name, runs_dir) for name in dict.fromkeys(runs)] or [
        find_path(None, runs_dir)
    ]
    data = collect(paths, metrics)
    for metric in metrics:
        if not any(metric in run.curves for run in data.runs):
            raise LmmError(
                "no metric {metric!r} in these runs; `lmm-tui status` shows a run", metric=metric
            )
    heading = title or ", ".join(run.name for run in data.runs)
    if output.suffix == ".md":
        from lmm_tui.report.markdown_page import markdown_page

        text = markdown_page(data, heading)
    else:
        from lmm_tui.report.html_page import html_page

        text = html_page(data, heading)
    try:
        replace_text(output, text, mode=SHARED)
    except OSError as error:
        raise LmmError(
            "{output}: cannot be written ({error})", output=output, error=os_reason(error)
        ) from None
    click.echo(clean(str(output)))


if __name__ == "__main__":
    try:
        command(["-o", "report.pdf"], standalone_mode=False)
    except LmmError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
