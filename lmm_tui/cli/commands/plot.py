"""`lmm-tui plot [RUN]`: the curves as a picture, the dashboard as SVG, or the loss as text."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lmm_tui.cli.commands.export import first_names
from lmm_tui.cli.options import runs_dir_option
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr
from lmm_tui.message import Message
from lmm_tui.terminal import capabilities
from lmm_tui.terminal.safe_text import clean


@click.command("plot")
@click.argument("run", required=False)
@runs_dir_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw all curves on one page, PNG, SVG or PDF; an existing picture is replaced",
)
@click.option(
    "--screen",
    type=click.Path(path_type=Path),
    metavar="FILE.svg",
    help="Keep the dashboard as SVG, as on a terminal of --size",
)
@click.option("--size", default="120x36", show_default=True, help="Columns and rows of --screen")
@click.option("--text", "as_text", is_flag=True, help="Draw the loss right here")
def command(
    run: str | None,
    runs_dir: Path,
    output: Path | None,
    screen: Path | None,
    size: str,
    as_text: bool,
) -> None:
    """Draw the curves of RUN (a name, a path or a foreign log; default: the newest).

    On a terminal without any option it draws the loss as text.
    """
    if output is None and screen is None and not as_text:
        as_text = sys.stdout.isatty()
        if not as_text:
            raise click.UsageError(Message("Give --output FILE.png, --screen FILE.svg or --text"))
    if output is not None:
        _check_target("--output", output, ".png", ".svg", ".pdf")
    if screen is not None:
        _check_target("--screen", screen, ".svg")
    from lmm_tui.engine.run.reader import Reader

    session = Reader.find(run, runs_dir)
    session.poll()
    if not session.series.names():
        raise LmmError(session.nothing_read)
    if session.series.full:
        from lmm_tui.metrics.series.series import MOST_METRICS

        text = tr("metrics beyond the first {count} are left out", count=MOST_METRICS)
        click.echo(text, err=True)
    if as_text:
        from lmm_tui.charts.text_plot import loss_picture

        picture = loss_picture(session.series, session.view.info.references)
        if not picture:
            raise LmmError(
                "{path}: no finite value to draw; it has {first_names}",
                path=session.run_dir.path,
                first_names=first_names(session.series.names()),
            )
        click.echo(picture)
    if output is not None:
        from lmm_tui.metrics.visualize import draw_page

        title = clean(session.view.info.name)
        info = session.view.info
        files = draw_page(session.series, info.references, output, title, info.resumed_steps)
        for file in files:
            click.echo(clean(str(file)))
    if screen is not None:
        import asyncio

        capabilities.draw_for_files()
        from lmm_tui.cockpit.dashboard_svg import dashboard_picture, read_size

        picture = asyncio.run(dashboard_picture(session, read_size(size)))
        screen.write_text(picture, encoding="utf-8")
        click.echo(clean(str(screen)))


def _check_target(option: str, target: Path, *suffixes: str) -> None:
    """Refuse names with other suffixes, so that only pictures are ever overwritten."""
    if target.suffix.lower() not in suffixes or target.is_dir():
        raise LmmError(
            "{option} {target}: give the name of a {suffixes} file",
            option=option,
            target=target,
            suffixes=" or ".join(suffixes),
        )
    if not target.parent.is_dir():
        raise LmmError(
            "{option} {target}: there is no folder {parent}; make it first",
            option=option,
            target=target,
            parent=target.parent,
        )


if __name__ == "__main__":
    try:
        _check_target("--output", Path("curves.jpg"), ".png")
    except LmmError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
