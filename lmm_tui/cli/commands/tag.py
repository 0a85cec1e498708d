"""`lmm-tui tag RUN TAG…`: give runs tags, by which `lmm-tui runs tag=TAG` finds them."""

from __future__ import annotations

from pathlib import Path

import click

from lmm_tui.cli.options import echo_json, json_option, runs_dir_option
from lmm_tui.engine.run.find_run import find_run
from lmm_tui.i18n.language import tr
from lmm_tui.runs.run_tags import change_tags
from lmm_tui.terminal.safe_text import clean


@click.command("tag")
@click.argument("run")
@click.argument("tags", nargs=-1)
@click.option("--remove", is_flag=True, help="Take these tags away")
@json_option
@runs_dir_option
def command(run: str, tags: tuple[str, ...], remove: bool, as_json: bool, runs_dir: Path) -> None:
    """Give RUN the tags TAGS, or take them away, and show those that it has."""
    found = find_run(run, runs_dir)
    kept = change_tags(found, drop=tags) if remove else change_tags(found, tags)
    if as_json:
        echo_json({"run": found.name, "tags": [*kept]})
        return
    click.echo(clean(f"{found.name}: {' '.join(kept) or tr('no tags')}"))


if __name__ == "__main__":
    from lmm_tui.errors import LmmError

    try:
        command(["none", "night"], standalone_mode=False)
    except LmmError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
