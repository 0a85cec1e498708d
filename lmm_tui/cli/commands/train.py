"""`lmm-tui train`: train without a cockpit, for pipes, nohup and schedulers."""

from __future__ import annotations

import click

from lmm_tui.cli.options import grace_option
from lmm_tui.cli.settings import read_settings, settings_options


@click.command("train")
@settings_options
@grace_option
@click.pass_context
def command(context: click.Context, grace: float, **_: object) -> int:
    """Start a run without the cockpit.

    Prints progress, and at the end the loss as a picture. Ctrl+C stops with a checkpoint, twice at
    once; `lmm-tui monitor` attaches from elsewhere.
    """
    start = read_settings(context)
    if start is None:
        return 0
    from lmm_tui.cli import headless_ranks

    return headless_ranks.train(start.config, start.resume, grace_s=grace)


if __name__ == "__main__":
    assert command(["--steps", "20", "--print-config"], standalone_mode=False) == 0
    print("=== 自测通过 ===")
