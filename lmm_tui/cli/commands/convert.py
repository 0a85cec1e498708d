"""`lmm-tui convert SOURCE TARGET`: write a model for Hugging Face, MiniMind or llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lmm_tui.cli.options import runs_dir_option
from lmm_tui.engine.run.find_run import run_or_path
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.message import Message
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.engine.checkpoints.gguf_file import Quantisation


@click.command("convert")
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--merge", is_flag=True, help="Make LoRA adapters part of the weights")
@click.option(
    "--type",
    "quantisation",
    type=click.Choice(["f32", "f16", "q8_0", "q4_0"]),
    help="Of the weights in a .gguf file; default f16",
)
@runs_dir_option
def command(
    source: str, target: Path, merge: bool, quantisation: Quantisation | None, runs_dir: Path
) -> None:
    """Write the model of SOURCE to TARGET.

    SOURCE is a run (its newest checkpoint), a checkpoint, a Hugging Face folder, a GGUF file
    or a MiniMind .pth file. TARGET is a new .pth file (fp16), a new .gguf file for llama.cpp and
    Ollama, or else a new Hugging Face folder, with the weights unchanged.
    """
    if quantisation is not None and target.suffix != ".gguf":
        raise click.UsageError(Message("--type is for a TARGET that ends in .gguf"))
    from lmm_tui.engine.convert import convert

    weights = convert(
        run_or_path(source, runs_dir), target, merge=merge, quantisation=quantisation or "f16"
    )
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
