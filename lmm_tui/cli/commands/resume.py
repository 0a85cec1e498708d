"""`lmm-tui resume [RUN]`: resume a run, in the cockpit if there is a terminal for it."""

from __future__ import annotations

import click

from lmm_tui.cli.commands.launch import cockpit_options, start_run
from lmm_tui.cli.settings import read_resumed, resume_options


@click.command("resume")
@resume_options
@cockpit_options
@click.pass_context
def command(context: click.Context, **_: object) -> int:
    """Resume RUN (a name or a path; default: the newest run) from its last intact checkpoint.

    It keeps its own settings except for what is given here; on a CPU its losses are bit for bit
    those of an uninterrupted run.
    """
    start = read_resumed(context)
    return 0 if start is None else start_run(start, context, configure=False)


if __name__ == "__main__":
    from lmm_tui.errors import LmmError

    try:
        command(["--runs-dir", "no-such-folder"], standalone_mode=False)
    except LmmError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
