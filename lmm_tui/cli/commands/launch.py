"""`lmm-tui launch`: start a run and its cockpit; without a terminal, the run alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from lmm_tui.cli.options import grace_option, no_mouse_option
from lmm_tui.cli.settings import StartRequest, read_settings, settings_options
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr
from lmm_tui.runs.ranks.nodes import is_rank
from lmm_tui.terminal import capabilities, first_paint


def cockpit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `start_run` reads."""
    for decorate in (
        grace_option,
        click.option(
            "--retries",
            metavar="N",
            type=click.IntRange(0, 1000),
            default=0,
            help="With --detach: resume a run that crashed, up to N times",
        ),
        no_mouse_option,
        click.option(
            "--detach", is_flag=True, help="Train in the background (keeps running when you quit)"
        ),
    ):
        function = decorate(function)
    return function


@click.command("launch")
@settings_options
@click.option("-y", "--yes", is_flag=True, help="Start at once, without the configure screen")
@cockpit_options
@click.pass_context
def command(context: click.Context, yes: bool, **_: object) -> int:
    """Start a run and watch it in the cockpit.

    Without a terminal it trains like `lmm-tui train`.
    """
    start = read_settings(context)
    if start is None:
        return 0
    return start_run(start, context, configure=not yes and start.resume is None)


def start_run(start: StartRequest, context: click.Context, *, configure: bool) -> int:
    """Train, in the cockpit if there is a terminal for it; returns the exit code.

    `configure` opens the configure screen first.
    """
    detach: bool = context.params["detach"]
    retries: int = context.params["retries"]
    grace_s: float = context.params["grace"]
    if is_rank():
        return _train(start, grace_s)
    if retries and not detach:
        raise LmmError("--retries: only a run in a process of its own is resumed; add --detach")
    if capabilities.can_host_app():
        from lmm_tui.cli.launcher import launch_cockpit

        return launch_cockpit(
            start.config,
            resume=start.resume,
            configure=configure,
            detach=detach,
            retries=retries,
            grace_s=grace_s,
            mouse=not context.params["no_mouse"],
        )
    if detach:
        return _launch_detached(start, retries, grace_s)
    click.echo(tr("not a terminal: training without the cockpit"), err=True)
    return _train(start, grace_s)


def _train(start: StartRequest, grace_s: float) -> int:
    first_paint.arrived()  # There is none.
    from lmm_tui.cli import headless_ranks

    return headless_ranks.train(start.config, start.resume, grace_s=grace_s)


def _launch_detached(start: StartRequest, retries: int, grace_s: float) -> int:
    from lmm_tui.runs import detached
    from lmm_tui.runs.status_text import run_argument

    engine = detached.start(start.config, start.resume, retries=retries, grace_s=grace_s)
    name = run_argument(engine.run.path)
    click.echo(
        tr(
            "training in process {pid}; attach with `lmm-tui monitor {run}`",
            pid=engine.pid,
            run=name,
        )
    )
    return 0


if __name__ == "__main__":
    assert command(["--yes", "--steps", "20", "--print-config"], standalone_mode=False) == 0
    print("=== 自测通过 ===")
