"""`lmm-tui launch`: a run in its cockpit; without a terminal, the same run without one."""

from __future__ import annotations

import click

from lmm_tui import terminal
from lmm_tui.commands.settings import Start, read_settings, settings_options
from lmm_tui.summary import run_argument


@click.command("launch")
@settings_options
@click.option("-y", "--yes", is_flag=True, help="Start at once, without the configure screen")
@click.option("--detach", is_flag=True, help="Train in a process of its own that outlives this one")
@click.option("--no-mouse", is_flag=True, help="Leave the mouse to the terminal")
@click.pass_context
def command(context: click.Context, yes: bool, detach: bool, no_mouse: bool, **_: object) -> int:
    """Start a run and watch it in the cockpit.

    Without a terminal it trains like `lmm-tui train`.
    """
    start = read_settings(context)
    if start is None:
        return 0
    if terminal.can_host_app():
        from lmm_tui.launcher import launch_cockpit

        return launch_cockpit(
            start.config,
            resume=start.resume,
            configure=not yes and start.resume is None,
            detach=detach,
            mouse=not no_mouse,
        )
    return _launch_detached(start) if detach else _launch_headless(start)


def _launch_headless(start: Start) -> int:
    from lmm_tui import headless

    click.echo("no terminal for the cockpit here; training without it", err=True)
    return headless.train(start.config, start.resume)


def _launch_detached(start: Start) -> int:
    from lmm_tui import detached

    engine = detached.start(start.config, start.resume)
    name = run_argument(engine.run.path)
    click.echo(f"training in process {engine.pid}; attach with `lmm-tui monitor {name}`")
    return 0


if __name__ == "__main__":
    assert command(["--yes", "--steps", "20", "--print-config"], standalone_mode=False) == 0
    print("=== 自测通过 ===")
