"""What a data source and a tokenizer come to, found out without reading the text.

For the configure screen, which calls it from a thread: it may wait for a slow disk, but gives up
counting a huge folder soon. The engine decides what can be trained on; this only says so early.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.data_config import DataConfig
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import listed, tr
from lmm_tui.i18n.number_format import size

COUNTING_S = 0.5
"""How long to add up the files of a folder; somebody may be typing the path of a whole disk."""


@dataclass(frozen=True)
class DataFacts:
    """`bytes` of text, about, and `vocab_size` of a given tokenizer, None where unknown.

    `problems` holds a sentence for each option that cannot be used.
    """

    words: str = ""
    bytes: int | None = None
    vocab_size: int | None = None
    problems: dict[str, str] = field(default_factory=dict)


def look(config: RunConfig) -> DataFacts:
    """Find the files, add up their sizes, open the tokenizer."""
    problems: dict[str, str] = {}
    words, total, vocab_size = "", None, None
    try:
        words, total = _source(config.data, config.reads_text)
    except LmmError as error:
        problems["data.source"] = str(error).removeprefix("data.source: ")
    try:
        vocab_size = _vocab_size(config.data.tokenizer)
    except LmmError as error:
        problems["data.tokenizer"] = str(error).removeprefix("data.tokenizer: ")
    return DataFacts(words, total, vocab_size, problems)


def _source(config: DataConfig, text: bool) -> tuple[str, int | None]:
    """Words, and the bytes of text; those of rows, which are mostly not text, say nothing."""
    from lmm_tui.data.text import dataset, files
    from lmm_tui.data.text.corpus import BUILTIN

    if config.source == BUILTIN and not text:
        kinds = listed(config.kinds) or tr("all kinds")
        return tr("built-in questions: {kinds}", kinds=kinds), None
    if config.source == BUILTIN:
        total = round(config.builtin_mb * 1e6)
        return tr("built in, {size}", size=size(total)), total
    suffixes = files.SUFFIXES if text else dataset.SUFFIXES
    deadline = time.monotonic() + COUNTING_S
    count = total = 0
    try:
        for path in _walk(Path(config.source).expanduser(), suffixes):
            if time.monotonic() > deadline:
                seen = tr("{count:,} files and more, {size} so far", count=count, size=size(total))
                return seen, None
            if path is not None:
                count += 1
                total += path.stat().st_size
    except OSError as error:
        raise LmmError(f"{config.source!r} cannot be read ({error.strerror})") from None
    if not count:
        files.find(config.source, suffixes)  # Words the refusal.
    words = tr(
        "{count:,} file, {size}" if count == 1 else "{count:,} files, {size}",
        count=count,
        size=size(total),
    )
    return words, total if text else None


def _walk(given: Path, suffixes: tuple[str, ...]) -> Iterator[Path | None]:
    """The files that a source means, and None now and then so that the caller may give up."""
    starts = [str(given)] if given.exists() else glob.iglob(str(given), recursive=True)  # noqa: PTH207
    for start in map(Path, starts):
        if start.is_file() and start.suffix.lower() in suffixes:
            yield start
        for folder, names, found in os.walk(start):
            names[:] = [name for name in names if not name.startswith(".")]
            yield None
            for name in found:
                path = Path(folder, name)
                if path.suffix.lower() in suffixes and not name.startswith(".") and path.is_file():
                    yield path


def _vocab_size(tokenizer: str | None) -> int | None:
    if tokenizer is None:
        return None
    from lmm_tui.data.tokenizing.tokenizer import Tokenizer

    return Tokenizer.load(Path(tokenizer).expanduser()).vocab_size


if __name__ == "__main__":
    import tempfile

    print(look(RunConfig()), look(RunConfig(stage="sft")).words, sep="\n")
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "one.txt").write_text("Once upon a time", encoding="utf-8")
        found = look(RunConfig(data=DataConfig(source=scratch, tokenizer=scratch)))
        print(found.words, list(found.problems))
        assert found.bytes == 16
    print("=== 自测通过 ===")
