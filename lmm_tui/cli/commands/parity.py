"""`lmm-tui parity CONFIG --ranks 1,2,4`: are the losses the same on any number of ranks?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from lmm_tui import installation
from lmm_tui.cli.options import echo_json, json_option, runs_dir_option
from lmm_tui.engine.config.assignments import parse_assignment
from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.i18n.language import tr
from lmm_tui.planning.settings_files import load_settings
from lmm_tui.terminal.safe_text import clean

_ROW = "{ranks:>6}  {loss:>10}  {step:>6}  {run}"


class _Counts(click.ParamType):
    name = "1,2,4"

    def convert(
        self, value: object, param: click.Parameter | None, context: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        counts = [part.strip() for part in str(value).split(",")]
        if not all(count.isdecimal() and int(count) > 0 for count in counts) or len(counts) < 2:
            self.fail(f"{value!r}: give two numbers of ranks or more, such as 1,2", param, context)
        return tuple(map(int, counts))


@click.command("parity")
@click.argument("source", metavar="CONFIG")
@click.option(
    "--ranks", "counts", type=_Counts(), default="1,2", show_default=True,
    help="Numbers of ranks; the others are compared with the first",
)  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(1), default=20, show_default=True, help="Steps of each"
)
@click.option(
    "--most", type=click.FloatRange(0), default=1e-4, show_default=True,
    help="The largest difference of a loss that is no fault, in nats",
)  # fmt: skip
@click.option(
    "--set", "assignments", metavar="SECTION.KEY=VALUE", multiple=True,
    help="Any setting of --print-config; may be repeated",
)  # fmt: skip
@runs_dir_option
@json_option
def command(
    source: str,
    counts: Sequence[int],
    steps: int,
    most: float,
    assignments: Sequence[str],
    runs_dir: Path,
    as_json: bool,
) -> int:
    """Train CONFIG some steps on each number of ranks, and print how far the losses are apart.

    CONFIG is a .toml file, a recipe (tiny:sft for one of its steps) or a run. The runs stay in a
    folder of their own. Exit code 1 where they differ by more than --most.
    """
    config = load_settings(source, str(runs_dir))
    lengths = dict.fromkeys(("train.epochs", "train.minutes", "train.tokens", "train.flops"))
    given = dict(map(parse_assignment, assignments))
    config = with_changes(config, {**lengths, "train.steps": steps, **given})
    installation.require_training()
    from lmm_tui.runs.parity import compare

    folder = runs_dir / f"parity-{time.strftime('%m%d-%H%M%S')}"
    found = compare(config, counts, folder)
    worst = max(difference.loss for difference in found)
    if as_json:
        rows = [{"ranks": one.ranks, "loss": one.loss, "step": one.step, "run": str(one.run)}
                for one in found]  # fmt: skip
        echo_json({"largest": worst, "steps": steps, "runs": rows})
    else:
        heads = {"ranks": tr("ranks"), "loss": tr("loss apart"), "step": tr("at step")}
        click.echo(_ROW.format(**heads, run=tr("run")))
        for one in found:
            apart = f"{one.loss:.1e}" if one.loss else "0"
            click.echo(clean(_ROW.format(ranks=one.ranks, loss=apart, step=one.step, run=one.run)))
    return int(worst > most)


if __name__ == "__main__":
    print(_Counts().convert("1,2,4", None, None))
    print("=== 自测通过 ===")
