"""`lmm-tui resume [RUN]`: go on with a run, in its cockpit where there is a terminal for it."""

from __future__ import annotations

import click

from lmm_tui.cli.commands.launch import begin, cockpit_options
from lmm_tui.cli.settings import read_resumed, resume_options


@click.command("resume")
@resume_options
@cockpit_options
@click.pass_context
def command(context: click.Context, **_: object) -> int:
    """Go on with RUN (a name or a path; default: the newest run) from its last intact checkpoint.

    It keeps its own settings but for what is given here; on a CPU it repeats, to the last bit,
    the losses that it would have had without a break.
    """
    start = read_resumed(context)
    return 0 if start is None else begin(start, context, configure=False)


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.run.run_dir_error import RunDirError

    with tempfile.TemporaryDirectory() as folder:
        try:
            command(["--runs-dir", folder], standalone_mode=False)
        except RunDirError as refusal:
            print(str(refusal).replace(folder, "RUNS"))
    print("=== 自测通过 ===")
