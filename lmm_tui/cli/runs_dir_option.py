"""`--runs-dir`, as every command that looks at runs takes it.

Such commands stay clear of the configuration tree, whose import would slow every look at a run.
"""

from __future__ import annotations

from pathlib import Path

import click

from lmm_tui.engine.run.run_dir import RUNS_DIR

runs_dir_option = click.option(
    "--runs-dir",
    type=click.Path(path_type=Path),
    default=RUNS_DIR,
    show_default=True,
    help="Folder that holds the runs",
)

if __name__ == "__main__":

    @click.command()
    @runs_dir_option
    def demo(runs_dir: Path) -> None:
        print(f"runs are in {runs_dir}")

    demo(["--runs-dir", "elsewhere"], standalone_mode=False)
    print("=== 自测通过 ===")
