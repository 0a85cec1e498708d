"""`lmm-tui monitor [RUN]`: the cockpit for a run of another process, or for one that has ended."""

from __future__ import annotations

from pathlib import Path

import click

from engine.rundir import find_run
from lmm_errors import LmmError
from lmm_tui import terminal
from lmm_tui.commands.folder import runs_dir_option


@click.command("monitor")
@click.argument("run", required=False)
@runs_dir_option
@click.option("--no-mouse", is_flag=True, help="Leave the mouse to the terminal")
def command(run: str | None, runs_dir: Path, no_mouse: bool) -> int:
    """Watch and steer RUN (a name or a path; default: the newest run)."""
    chosen = find_run(run, runs_dir)
    if not terminal.can_host_app():
        raise LmmError(
            "monitor needs a terminal; `lmm-tui status` and `lmm-tui plot --text` do without"
        )
    from lmm_tui.launcher import monitor_cockpit

    return monitor_cockpit(chosen, mouse=not no_mouse)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as empty:
        try:
            command(["--runs-dir", empty], standalone_mode=False)
        except LmmError as refusal:
            print(str(refusal).replace(empty, "RUNS"))
    print("=== 自测通过 ===")
