"""`lmm-tui convert SOURCE TARGET`: write a model as a Hugging Face folder or a MiniMind file."""

from __future__ import annotations

from pathlib import Path

import click

from lmm_tui.cli.options import runs_dir_option
from lmm_tui.engine.run.find_run import run_or_path
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.terminal.safe_text import clean


@click.command("convert")
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--merge", is_flag=True, help="Make LoRA adapters part of the weights")
@runs_dir_option
def command(source: str, target: Path, merge: bool, runs_dir: Path) -> None:
    """Write the model of SOURCE to TARGET, its weights unchanged.

    SOURCE is a run (its newest checkpoint), a checkpoint, a Hugging Face folder of a Qwen3 model
    or a MiniMind .pth file. TARGET is a new .pth file, or else a new Hugging Face folder.
    """
    from lmm_tui.engine.convert import convert

    weights = convert(run_or_path(source, runs_dir), target, merge=merge)
    for note in weights.notes:
        click.echo(clean(translate_message(note)), err=True)
    millions = weights.shape.parameters / 1e6
    click.echo(
        tr(
            "{target}: {millions:.2f}M parameters from {origin}",
            target=clean(str(target)),
            millions=millions,
            origin=clean(str(weights.origin)),
        )
    )


if __name__ == "__main__":
    command(["--help"], standalone_mode=False)
    print("=== 自测通过 ===")
