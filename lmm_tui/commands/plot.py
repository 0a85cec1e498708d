"""`lmm-tui plot [RUN]`: the curves of a run as one PNG page, or the loss as text."""

from __future__ import annotations

from pathlib import Path

import click

from lmm_errors import LmmError
from lmm_tui.commands.folder import runs_dir_option
from lmm_tui.finding import find_path
from lmm_tui.text import clean


@click.command("plot")
@click.argument("run", required=False)
@runs_dir_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw all curves on one page; an existing picture is replaced",
)
@click.option("--text", "as_text", is_flag=True, help="Draw the loss right here")
def command(run: str | None, runs_dir: Path, output: Path | None, as_text: bool) -> None:
    """Draw the curves of RUN (a name, a path or a foreign log; default: the newest)."""
    if output is None and not as_text:
        raise click.UsageError("Give --output FILE.png or --text")
    if output is not None:
        _check_target(output)
    from lmm_tui.session import RunSession

    session = RunSession(find_path(run, runs_dir))
    session.poll()
    if not session.series.names():
        raise LmmError(f"{session.run_dir.path}: no metrics yet; wait for the first step")
    if as_text:
        from lmm_tui.textplot import loss_picture

        click.echo(loss_picture(session.series, session.view.info.references))
    if output is not None:
        from metrics.visualize import draw_page

        title = clean(session.view.info.name)
        draw_page(session.series, session.view.info.references, output, title)
        click.echo(clean(str(output)))


def _check_target(output: Path) -> None:
    """Refuse what is no picture's name, so that nothing but a picture is ever replaced."""
    if output.suffix.lower() != ".png" or output.is_dir():
        raise LmmError(f"--output {output}: give the name of a .png file")
    if not output.parent.is_dir():
        raise LmmError(f"--output {output}: there is no folder {output.parent}; make it first")


if __name__ == "__main__":
    for wrong in ("curves.svg", "/nowhere/curves.png"):
        try:
            _check_target(Path(wrong))
        except LmmError as refusal:
            print(refusal)
    print("=== 自测通过 ===")
