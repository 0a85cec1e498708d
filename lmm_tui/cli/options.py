"""Options that several commands share.

Nothing here imports the configuration tree: pydantic would slow down every command that only looks
at runs. Flags read from that tree are in `lmm_tui.cli.settings`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lmm_tui.engine.run.run_dir import RUNS_DIR
from lmm_tui.metrics.values import strict
from lmm_tui.runs.shutdown import GRACE_S

runs_dir_option = click.option(
    "--runs-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=RUNS_DIR,
    show_default=True,
    help="Folder that holds the runs",
)

grace_option = click.option(
    "--grace",
    metavar="SECONDS",
    type=click.FloatRange(0),
    default=GRACE_S,
    show_default=True,
    help="Seconds to save a checkpoint after SIGTERM",
)

no_mouse_option = click.option("--no-mouse", is_flag=True, help="Do not capture the mouse")

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object, its keys stable"
)


def echo_json(found: Any) -> None:
    """Print an answer for programs: numbers that JSON has not as strings, and nothing but ASCII,
    since a terminal shows it, too."""
    click.echo(json.dumps(strict(found), indent=1, allow_nan=False))


if __name__ == "__main__":
    print(runs_dir_option(lambda runs_dir: None).__click_params__)  # type: ignore[attr-defined]
    print("=== 自测通过 ===")
