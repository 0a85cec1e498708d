"""`lmm-tui mcp`: runs for an agent, over the Model Context Protocol on stdin and stdout."""

from __future__ import annotations

from pathlib import Path

import click

from lmm_tui.cli.options import runs_dir_option


@click.command("mcp")
@runs_dir_option
@click.option(
    "--allow-control",
    is_flag=True,
    help="The agent may also start, pause, stop, resume and change runs",
)
def command(runs_dir: Path, allow_control: bool) -> None:
    """Serve the runs of a folder to an agent, by the Model Context Protocol on stdin and stdout.

    An agent lists runs, reads series, health, samples and this documentation, and compares;
    it sees nothing outside of the folder. Configure it in the agent's program as a local server.
    """
    from lmm_tui.agents.server import serve

    serve(runs_dir, control=allow_control)


if __name__ == "__main__":
    command(["--help"], standalone_mode=False)
    print("=== 自测通过 ===")
