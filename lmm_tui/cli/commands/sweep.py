"""`lmm-tui sweep`: train a configuration over a space of settings, one run a point."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from lmm_tui.cli.options import echo_json, json_option
from lmm_tui.cli.settings import read_settings, settings_options
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.sweeps.axes import SweepError
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.sweeps.sweep_plan import SweepFolder

_PRUNERS = ("none", "median", "halving", "hyperband")
_SAMPLERS = ("grid", "random", "tpe")


@click.command("sweep")
@click.argument("sweep", required=False)
@settings_options
@click.option("--trials", type=click.IntRange(1, 10_000), metavar="N", help="How many points")
@click.option("--sampler", type=click.Choice(_SAMPLERS), help="How points are chosen")
@click.option(
    "--prune",
    type=click.Choice(_PRUNERS),
    default="none",
    show_default=True,
    help="End trials early that are behind the others",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="Train the best point with so many seeds",
)
@click.option("--metric", default="val/loss", show_default=True, help="What is compared")
@click.option("--maximize", is_flag=True, help="A higher metric is better")
@click.option(
    "--jobs",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Trials at once on the processors; a GPU trains one",
)
@click.option("--queue-only", is_flag=True, help="Make the sweep, for `lmm-tui worker` to train")
@click.option("--pause", "action", flag_value="pause", help="Of SWEEP: begin no more trials")
@click.option("--unpause", "action", flag_value="unpause", help="Of SWEEP: begin trials again")
@click.option("--cancel", "action", flag_value="cancel", help="Of SWEEP: stop all its trials")
@click.option("--first", type=int, metavar="TRIAL", help="Of SWEEP: begin this trial next")
@click.option("--drop", type=int, metavar="TRIAL", help="Of SWEEP: leave this trial out")
@click.option("--more-seeds", type=int, metavar="N", help="Of SWEEP: train the best N times more")
@json_option
@click.pass_context
def command(context: click.Context, sweep: str | None, as_json: bool, **given: Any) -> int:
    """Train over a space of settings: a new one by `--set`, or show and steer SWEEP.

    \b
    --set optim.lr=1e-3,3e-3            values
    --set 'optim.lr=1e-4..1e-2 log'     a range; needs --trials

    Every trial is a run in the runs folder; Ctrl+C leaves those that train to go on, and
    `lmm-tui worker SWEEP` takes them over.
    """
    if sweep is not None:
        return _steer(sweep, as_json=as_json, **given)
    folder = _make(context)
    if folder is None:
        return 0
    if given["queue_only"]:
        click.echo(tr("queued; `lmm-tui worker {name}` trains it", name=folder.path.name))
        return 0
    return work(folder)


def work(folder: SweepFolder) -> int:
    """Work on a sweep until it has ended or a signal comes; prints its table then."""
    from lmm_tui.sweeps.results import sweep_record, sweep_table
    from lmm_tui.sweeps.sweep_queue import SweepQueue

    queue = SweepQueue(folder, _say)

    def leave(number: int, frame: FrameType | None) -> None:
        queue.leaving = True

    before = {one: signal.signal(one, leave) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        queue.run()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    click.echo("")
    click.echo(sweep_table(sweep_record(folder), folder.read()))
    if queue.leaving:
        text = tr("left; trials that train go on, `lmm-tui worker {name}` takes them over",
                  name=folder.path.name)  # fmt: skip
        click.echo(text, err=True)
        return 130
    return 0


def _make(context: click.Context) -> SweepFolder | None:
    """A new sweep of the command line; None after `--print-config`."""
    from lmm_tui.sweeps.axes import split_assignments
    from lmm_tui.sweeps.sweep_plan import SweepWishes, new_sweep

    given = context.params
    for flag in ("first", "drop", "more_seeds", "action"):
        if given[flag] is not None:
            raise SweepError(
                "--{action}: of which sweep? name it",
                action=given["action"] or flag.replace("_", "-"),
            )
    if given["resume"] is not None:
        raise SweepError("--resume: a sweep is continued by `lmm-tui worker SWEEP`")
    axes, fixed = split_assignments(given["assignments"])
    given["assignments"] = tuple(fixed)
    start = read_settings(context)
    if start is None:
        return None
    wishes = SweepWishes(
        given["trials"],
        given["sampler"],
        given["prune"],
        given["seeds"],
        given["metric"],
        given["maximize"],
        given["jobs"],
    )
    folder = new_sweep(start.config, tuple(axes), wishes)
    plan = folder.read()
    click.echo(
        clean(
            tr(
                "sweep {name}: {count} trials by {how}",
                name=plan.name,
                count=plan.trials,
                how=plan.sampler,
            )
        )
    )
    return folder


def _steer(
    sweep: str,
    *,
    as_json: bool,
    action: str | None,
    first: int | None,
    drop: int | None,
    more_seeds: int | None,
    **given: Any,
) -> int:
    """Do what is asked of a sweep that is there, and show it."""
    from lmm_tui.sweeps.results import sweep_record, sweep_table
    from lmm_tui.sweeps.steer_sweep import SweepSteering
    from lmm_tui.sweeps.sweep_plan import SweepFolder

    if given["assignments"] or given["trials"]:
        raise SweepError(
            "{sweep}: a sweep keeps its space; leave out {sweep} to make a new one", sweep=sweep
        )
    folder = SweepFolder(Path(given["runs_dir"]), sweep)
    plan, steering = folder.read(), SweepSteering(folder)
    acts: dict[str | None, Callable[[], str]] = {
        "pause": steering.pause,
        "unpause": lambda: steering.pause(False),
        "cancel": steering.cancel,
    }
    said = [acts[action]()] if action in acts else []
    said += [steering.put_first(first)] if first is not None else []
    said += [steering.drop(drop)] if drop is not None else []
    said += [steering.more_seeds(more_seeds)] if more_seeds is not None else []
    record = sweep_record(folder)
    if as_json:
        echo_json(record)
    else:
        click.echo(sweep_table(record, plan))
    for text in said:
        click.echo(clean(translate_message(text)), err=True)
    return 0


def _say(text: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')}  {clean(text)}")


if __name__ == "__main__":
    try:
        command(["--steps", "5"], standalone_mode=False)
    except SweepError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
