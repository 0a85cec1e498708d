"""`lmm-tui compare RUN…`: runs side by side, as a table with a ranking, as JSON or as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lmm_tui.cli.commands.runs import columns_table
from lmm_tui.cli.options import echo_json, json_option, runs_dir_option
from lmm_tui.engine.run.find_run import find_path
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import listed, tr
from lmm_tui.i18n.number_format import NOTHING, number
from lmm_tui.metrics.values import strict
from lmm_tui.runs.compared_settings import setting_text
from lmm_tui.runs.comparison import Comparison
from lmm_tui.runs.run_columns import ColumnError
from lmm_tui.runs.run_details import RunDetails
from lmm_tui.runs.run_list import listed_runs
from lmm_tui.runs.seed_ranking import RankedRuns, is_seed
from lmm_tui.runs.status_text import table_text
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.metrics.plots.comparison_page import ComparisonPage

MOST_RUNS = 100


@click.command("compare")
@click.argument("runs", nargs=-1, required=True)
@runs_dir_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw curves, a scatter and parallel coordinates, PNG, SVG or PDF",
)
@click.option("--x", "across", metavar="COLUMN", help="Of the scatter; default: a setting")
@click.option("--y", "up", metavar="COLUMN", help="Of the scatter; default: the result")
@json_option
def command(
    runs: tuple[str, ...],
    runs_dir: Path,
    output: Path | None,
    across: str | None,
    up: str | None,
    as_json: bool,
) -> None:
    """Compare RUNS (names, paths or foreign logs): results, settings that differ, and seeds.

    Runs that differ only in their seed are ranked as one, with the 95 % interval of their mean.
    """
    names = [*dict.fromkeys(runs)]
    if len(names) > MOST_RUNS:
        raise LmmError(
            "at most {most_runs} runs can be compared; leave some out", most_runs=MOST_RUNS
        )
    if (across or up) and output is None:
        raise LmmError("--x and --y are of a picture; add --output FILE.png")
    paths = [find_path(name, runs_dir) for name in names]
    compared = Comparison(listed_runs(paths), RunDetails(runs_dir))
    compared.read()
    if output is not None:
        from lmm_tui.metrics.visualize import draw_comparison

        draw_comparison(output, _page(compared, paths, across, up))
        click.echo(clean(str(output)))
    elif as_json:
        echo_json(_record(compared))
    else:
        click.echo(_table(compared), nl=False)


def _table(compared: Comparison) -> str:
    """Results and settings, the best first, then the ranking where seeds were repeated."""
    columns, names = compared.columns, compared.names()
    ordered = columns.sorted(compared.runs, compared.metric(), False)
    text = columns_table(ordered, names, columns)
    ranking = compared.ranking()
    if any(one.bar is not None for one in ranking):
        text += "\n" + _ranking(compared, ranking) + "\n"
    return text


def _ranking(compared: Comparison, ranking: Sequence[RankedRuns]) -> str:
    keys = [key.rpartition(".")[2].upper() for key in compared.differing() if not is_seed(key)]
    head = ["#", *keys, tr("SEEDS"), tr("MEAN"), "95 %", tr("RUNS")]
    rows = [
        [
            f"{place}",
            *(clean(setting_text(value)) for value in one.settings),
            f"{len(one.names)}",
            number(one.mean),
            f"± {one.bar:.3g}" if one.bar is not None else NOTHING,
            clean(listed(one.names)),
        ]
        for place, one in enumerate(ranking, 1)
    ]
    return table_text([head, *rows], {0, *range(1, len(keys) + 4)})


def _record(compared: Comparison) -> dict[str, Any]:
    names = compared.names()
    record = {
        "format": 1,
        "metric": compared.metric(),
        "runs": [
            {name: compared.columns.value(run, name) for name in names} for run in compared.runs
        ],
        "ranking": [
            {"runs": [*one.names], "mean": one.mean, "half_width_95": one.bar}
            for one in compared.ranking()
        ],
    }
    found: dict[str, Any] = strict(record)
    return found


def _page(
    compared: Comparison, paths: Sequence[Path], across: str | None, up: str | None
) -> ComparisonPage:
    from lmm_tui.charts.run_points import PlottedColumn, quarters
    from lmm_tui.metrics.plots.comparison_page import ComparisonPage, PlotAxis
    from lmm_tui.report.overlaid_curves import overlaid_curves

    columns, runs, metric = compared.columns, compared.runs, compared.metric()

    def axis(name: str) -> PlotAxis:
        column = PlottedColumn.of(
            name.rpartition(".")[2], [columns.value(run, name) for run in runs]
        )
        return PlotAxis(name, column.places, column.scale.labels())

    def known(name: str) -> str:
        found = columns.known(name)
        if all(columns.value(run, found) in (None, "") for run in runs):
            raise ColumnError("{name}: none of these runs has it", name=name)
        return found

    parallel = compared.parallel()
    first = known(across) if across else next(iter(parallel), "")
    second = known(up) if up else metric
    results = [columns.value(run, metric) for run in runs]
    return ComparisonPage(
        [run.name for run in runs],
        overlaid_curves({run.name: path for run, path in zip(runs, paths, strict=True)}),
        (axis(first), axis(second)) if first else None,
        [axis(name) for name in parallel],
        quarters([float(one) if isinstance(one, int | float) else None for one in results]),
    )


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for loss in (3, 2):
            (Path(folder) / f"{loss}.log").write_text(f"step: 1, loss: {loss}\n")
        logs = [f"{folder}/3.log", f"{folder}/2.log"]
        command([*logs, "--runs-dir", folder], standalone_mode=False)
    print("=== 自测通过 ===")
