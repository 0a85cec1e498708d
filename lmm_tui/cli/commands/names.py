"""`lmm-tui names`: what metrics of other programs are called here, as TOML."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lmm_tui.cli.options import echo_json, json_option
from lmm_tui.i18n.language import tr
from lmm_tui.metrics.readers.metric_names import names_by_metric, user_table
from lmm_tui.terminal.safe_text import clean


@click.command("names")
@json_option
def command(as_json: bool) -> None:
    """Print what metrics of other programs' logs are called here.

    A file of the same form adds names of yours; its place is in the first line.
    """
    table = names_by_metric()
    if as_json:
        echo_json(table)
        return
    click.echo("# " + _first_line(user_table()))
    for ours, theirs in table.items():
        written = ", ".join(json.dumps(name, ensure_ascii=False) for name in theirs)
        click.echo(clean(f"{json.dumps(ours, ensure_ascii=False)} = [{written}]"))


def _first_line(path: Path) -> str:
    if path.is_file():
        return tr("names of yours, in {path}, come first", path=clean(str(path)))
    return tr("names of yours can be added in {path}", path=clean(str(path)))


if __name__ == "__main__":
    command([], standalone_mode=False)
    print("=== 自测通过 ===")
