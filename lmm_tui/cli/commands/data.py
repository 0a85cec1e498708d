"""`lmm-tui data PATH…`: what data hold before anything is trained on them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from lmm_tui.cli.options import echo_json
from lmm_tui.data.report.samples import KINDS_OF_DATA
from lmm_tui.data.text.source import Source
from lmm_tui.engine.config.sections.columns_config import ColumnsConfig
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import tr


@click.command("data")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--kind", type=click.Choice(KINDS_OF_DATA), help="What rows are; found out otherwise")
@click.option("--column", "columns", multiple=True, metavar="KEY=NAME",
              help="Name a column, as data.columns does: --column text=content")  # fmt: skip
@click.option("--tokenizer", help="A tokenizer.json or Hugging Face folder; else one is trained")
@click.option("--vocab-size", type=click.IntRange(260, 1_000_000), default=6400, show_default=True,
              help="Tokens of the tokenizer that is trained")  # fmt: skip
@click.option("--seq-len", type=click.IntRange(8, 131072), default=256, show_default=True,
              help="Tokens in one sequence: longer rows are cut")  # fmt: skip
@click.option("--against", multiple=True, metavar="PATH",
              help="Test questions to look for in the data, beside the built-in tasks")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="JSON, its keys stable")
def command(
    paths: Sequence[str],
    kind: str | None,
    columns: Sequence[str],
    tokenizer: str | None,
    vocab_size: int,
    seq_len: int,
    against: Sequence[str],
    as_json: bool,
) -> None:
    """Report what data hold: rows, columns, tokens, lengths, scripts, duplicates, test questions.

    Each PATH is what --data takes: files, a folder, a glob, a dataset by name, path@split#column.
    """
    from lmm_tui.data.report.report import report
    from lmm_tui.data.report.samples import questions_of
    from lmm_tui.planning.data_report_text import report_text

    named = _columns(columns)
    tasks = {path: list(questions_of(Source.parse(path))) for path in against}
    found = []
    for path in paths:
        made = report(
            Source.parse(path, named),
            kind=kind or "",
            tokenizer=tokenizer,
            vocab_size=vocab_size,
            seq_len=seq_len,
            tasks=tasks,
            progress=_progress,
        )
        _progress(None)
        found.append(made)
        if not as_json:
            click.echo(report_text(made) + ("\n" if path != paths[-1] else ""))
    if as_json:
        echo_json([asdict(one) for one in found])


def _columns(given: Sequence[str]) -> dict[str, str]:
    named = {}
    for one in given:
        key, equals, name = one.partition("=")
        if not equals or not name or key not in ColumnsConfig.model_fields:
            known = ", ".join(ColumnsConfig.model_fields)
            raise LmmError(
                "--column {one}: expected KEY=NAME; keys are {known}", one=one, known=known
            )
        named[key] = name
    return named


def _progress(rows: int | None) -> None:
    if sys.stderr.isatty():
        said = "" if rows is None else tr("{rows:,} rows read", rows=rows)
        click.echo(f"\r{said:<40}\r" if rows is None else f"\r{said}", err=True, nl=False)


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        (file := Path(folder) / "few.jsonl").write_text('{"text": "Once upon a time."}\n' * 50)
        command([str(file), "--vocab-size", "300"], standalone_mode=False)
    print("=== 自测通过 ===")
