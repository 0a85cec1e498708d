"""`lmm-tui export [RUN] --to csv`: write the metrics of a run or a foreign log to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lmm_tui.cli.options import runs_dir_option
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import listed, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.message import Message
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.engine.run.reader import Reader

_SUFFIXES = {
    "csv": ".csv",
    "jsonl": ".jsonl",
    "tensorboard": ".tensorboard",
    "parquet": ".parquet",
}


@click.command("export")
@click.argument("run", required=False)
@runs_dir_option
@click.option("--to", type=click.Choice([*_SUFFIXES]), required=True, help="What to write")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A new file, or folder of events; default: the run's name, here",
)
@click.option("--from-step", type=int, metavar="N", help="Leave out what is before step N")
@click.option("--to-step", type=int, metavar="N", help="Leave out what is after step N")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this; repeatable")
def command(
    run: str | None,
    runs_dir: Path,
    to: str,
    output: Path | None,
    from_step: int | None,
    to_step: int | None,
    metrics: tuple[str, ...],
) -> None:
    """Write the metrics of RUN (a name, a path or a foreign log; default: the newest)."""
    from lmm_tui.engine.run.reader import Reader
    from lmm_tui.metrics.writers.exporting import WHOLE, Part, export

    session = Reader.find(run, runs_dir)
    path = session.run_dir.path
    session.poll()
    if not session.series.names():
        raise LmmError(session.nothing_read)
    unknown = [name for name in metrics if session.series.get(name) is None]
    if unknown:
        raise LmmError(
            "{path}: no metric {unknown!r}; it has {first_names}",
            path=path,
            unknown=unknown[0],
            first_names=first_names(session.series.names()),
        )
    part = Part(
        WHOLE.first if from_step is None else from_step,
        WHOLE.last if to_step is None else to_step,
        metrics or None,
    )
    if not part.rows(session.series):
        raise LmmError(
            "{path}: nothing was measured in these steps; leave out --from-step", path=path
        )
    target = output or Path(path.resolve().name + _SUFFIXES[to])
    export(session.series, to, target, part)
    click.echo(clean(str(target)))
    for note in left_out(session):
        click.echo(clean(translate_message(note)), err=True)


def left_out(session: Reader) -> list[str]:
    """What of a log is not in its series as it stands there."""
    warnings = []
    if session.unreadable_lines:
        warnings.append(
            Message(
                "{unreadable_lines} lines could not be read",
                unreadable_lines=session.unreadable_lines,
            )
        )
    if session.series.full:
        from lmm_tui.metrics.series.series import MOST_METRICS

        warnings.append(
            Message(
                "metrics beyond the first {most_metrics} are left out", most_metrics=MOST_METRICS
            )
        )
    return [*warnings, *session.notes]


def first_names(names: list[str], most: int = 8) -> str:
    """The first of some metrics, and how many more there are."""
    return listed(names[:most]) + (
        tr(" and {count} more", count=len(names) - most) if names[most:] else ""
    )


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "train.log"
        log.write_text("step: 1, loss: 2.5\n")
        command([str(log), "--to", "csv", "-o", f"{folder}/out.csv"], standalone_mode=False)
    print("=== 自测通过 ===")
