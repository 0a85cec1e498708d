"""`lmm-tui convert SOURCE TARGET`: write a model for Hugging Face, MiniMind or llama.cpp, and
upload it where a name is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lmm_tui.cli.options import runs_dir_option
from lmm_tui.engine.run.find_run import run_or_path
from lmm_tui.engine.run.run_dir import RunDir
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
    "--adapter", is_flag=True, help="Write LoRA adapters alone, as a folder that peft loads"
)
@click.option(
    "--type",
    "quantisation",
    type=click.Choice(["f32", "f16", "q8_0", "q4_0"]),
    help="Of the weights in a .gguf file; default f16",
)
@click.option(
    "--push-to-hub",
    "repository",
    metavar="OWNER/NAME",
    help="Upload it to huggingface.co under this name, with a model card; private unless --public",
)
@click.option("--public", is_flag=True, help="Make a new repository of --push-to-hub public")
@runs_dir_option
def command(
    source: str,
    target: Path,
    merge: bool,
    adapter: bool,
    quantisation: Quantisation | None,
    repository: str | None,
    public: bool,
    runs_dir: Path,
) -> None:
    """Write the model of SOURCE to TARGET.

    SOURCE is a run (its newest checkpoint), a checkpoint, a Hugging Face folder, a GGUF file
    or a MiniMind .pth file. TARGET is a new .pth file (fp16), a new .gguf file for llama.cpp and
    Ollama, or else a new Hugging Face folder, with the weights unchanged.
    """
    if quantisation is not None and target.suffix != ".gguf":
        raise click.UsageError(Message("--type is for a TARGET that ends in .gguf"))
    if public and repository is None:
        raise click.UsageError(Message("--public is for --push-to-hub"))
    if adapter and merge:
        raise click.UsageError(
            Message("--adapter writes adapters alone, --merge adds them; choose")
        )
    from lmm_tui.engine.adapter_export import export_adapter
    from lmm_tui.engine.checkpoints.hub_upload import check_name
    from lmm_tui.engine.convert import convert

    if repository is not None:
        check_name(repository)
    origin = run_or_path(source, runs_dir)
    if adapter:
        alone = export_adapter(origin, target)
        notes, parameters, read = alone.notes, alone.parameters, alone.checkpoint
    else:
        weights = convert(origin, target, merge=merge, quantisation=quantisation or "f16")
        notes, parameters, read = weights.notes, weights.shape.parameters, weights.origin
    for note in notes:
        click.echo(clean(translate_message(note)), err=True)
    millions = parameters / 1e6
    click.echo(
        tr(
            "{target}: {millions:.2f}M parameters from {origin}",
            target=clean(str(target)),
            millions=millions,
            origin=clean(str(read)),
        )
    )
    if repository is not None:
        click.echo(clean(_push(origin, target, repository, public)))


def _push(origin: Path, target: Path, repository: str, public: bool) -> str:
    """Upload what was written to `target`; a run gets a card. Returns the address."""
    from lmm_tui.engine.checkpoints.hub_upload import upload
    from lmm_tui.engine.checkpoints.ollama_file import FILE
    from lmm_tui.report.model_card import model_card

    folder = target if target.is_dir() else target.parent
    written = sorted(folder.iterdir()) if target.is_dir() else [target, folder / FILE]
    files: dict[str, Path | bytes] = {file.name: file for file in written if file.is_file()}
    run = next((path for path in (origin, *origin.parents[:2]) if RunDir(path).exists()), None)
    if run is not None and "README.md" not in files:
        files["README.md"] = model_card(run, repository.rpartition("/")[2]).encode()
    return upload(files, repository, public=public)


if __name__ == "__main__":
    command(["--help"], standalone_mode=False)
    print("=== 自测通过 ===")
