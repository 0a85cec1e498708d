"""`lmm-tui send RUN COMMAND [key=value …]`: send a command to a live run and print the reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lmm_tui.cli.options import echo_json, json_option, runs_dir_option
from lmm_tui.engine.run.control_mailbox import COMMANDS
from lmm_tui.engine.run.find_run import find_run
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.terminal.safe_text import clean


@click.command("send")
@click.argument("run")
@click.argument("name", metavar="COMMAND", type=click.Choice(COMMANDS))
@click.argument("arguments", metavar="[KEY=VALUE]...", nargs=-1)
@json_option
@runs_dir_option
def command(run: str, name: str, arguments: tuple[str, ...], as_json: bool, runs_dir: Path) -> int:
    """Send COMMAND to the live RUN and wait until the loop has done it.

    \b
    pause, resume, probe
    evaluate    [tasks=NAME,NAME]
    checkpoint  [pin=true]
    rollback    [before=STEP]
    stop    [checkpoint=false]
    sample  [prompt=TEXT] [max_tokens=N] [temperature=T] [top_p=P]
    talk    prompt=TEXT [tokens=N] [temperature=T] [top_p=P]
    read    [text=TEXT]
    set     [lr=X] [clip=X] [log_every=N] [val_every=N] [probe_every=N]
            [sample_every=N] [checkpoint_every=N]

    Exits with 1 where the run refuses.
    """
    from lmm_tui.engine.run.reader import Reader

    reply = Reader(find_run(run, runs_dir).path).send(name, parse_arguments(arguments))
    if as_json:
        echo_json(asdict(reply))
        return 0 if reply.ok else 1
    # The reply to `talk` is text of the model.
    by_model = reply.ok and name == "talk"
    text = clean(reply.message if by_model else translate_message(reply.message), newlines="keep")
    if not reply.ok:
        click.echo(f"lmm-tui: {text}", err=True)
        return 1
    click.echo(tr("step {step}: {message}", step=reply.step, message=text))
    return 0


def parse_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """Parse `key=value` pairs; a value is TOML, a bare word a string."""
    from lmm_tui.engine.config.assignments import parse_value

    parsed: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not key:
            raise LmmError("{argument}: expected key=value, such as lr=1e-4", argument=argument)
        parsed[key.strip()] = parse_value(value)
    return parsed


if __name__ == "__main__":
    print(parse_arguments(["lr=1e-4", "checkpoint=false", "prompt=从前"]))
    print("=== 自测通过 ===")
