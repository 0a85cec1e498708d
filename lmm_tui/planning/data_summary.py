"""Size and problems of a data source and a tokenizer, without reading the text.

The configure screen calls it from a thread: the disk may be slow, and counting a huge folder stops
after half a second. The engine checks everything again when the run starts.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lmm_tui.data.text.source import Source
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.data_config import DataConfig
from lmm_tui.errors import LmmError
from lmm_tui.i18n.language import listed, tr
from lmm_tui.i18n.number_format import size
from lmm_tui.message import os_reason

COUNTING_S = 0.5
"""Time limit for counting the files of a folder; a half-typed path may name a whole disk."""


@dataclass(frozen=True)
class DataFacts:
    """The approximate `bytes` of text and the tokenizer's `vocab_size`; None if not known.

    `text` describes the data for people; `problems` maps a config key to what is wrong with it.
    """

    text: str = ""
    bytes: int | None = None
    vocab_size: int | None = None
    problems: dict[str, str] = field(default_factory=dict)


def summarize_data(config: RunConfig) -> DataFacts:
    """Find the files, add up their sizes, open the tokenizer."""
    problems: dict[str, str] = {}
    text, total, vocab_size = "", None, None
    try:
        found = [_source(source, config.data, config.reads_text) for source in config.data.inputs]
        text = ", ".join(text for text, _ in found)
        sizes = [size for _, size in found if size is not None]
        total = sum(sizes) if len(sizes) == len(found) else None
    except LmmError as error:
        problems["data.source"] = str(error)
    try:
        vocab_size = _vocab_size(config.data.tokenizer)
    except LmmError as error:
        problems["data.tokenizer"] = str(error)
    return DataFacts(text, total, vocab_size, problems)


def _source(source: Source, config: DataConfig, reads_text: bool) -> tuple[str, int | None]:
    """A description, and the bytes of text; None for rows, which are mostly not text.

    Nothing is fetched: what is remote is only named.
    """
    from lmm_tui.data.text import hub
    from lmm_tui.data.text.containers import ROW_FORMATS, TEXT_FORMATS, text_bytes
    from lmm_tui.data.text.corpus import BUILTIN
    from lmm_tui.data.text.locate import is_cached, locate

    if source.path == BUILTIN and not reads_text:
        kinds = listed(config.kinds) or tr("all kinds")
        return tr("built-in questions: {kinds}", kinds=kinds), None
    if source.path == BUILTIN:
        total = round(config.builtin_mb * 1e6)
        return tr("built in, {size}", size=size(total)), total
    formats = TEXT_FORMATS if reads_text else ROW_FORMATS
    given = Path(source.path).expanduser()
    if hub.is_remote(source.path) or (
        hub.looks_like_a_name(source.path) and not given.exists() and not is_cached(source, formats)
    ):
        return tr("remote: {name}", name=str(source)), None
    deadline = time.monotonic() + COUNTING_S
    count = total = 0
    try:
        for path in _find_files(given, formats):
            if time.monotonic() > deadline:
                text = tr("{count:,} files and more, {size} so far", count=count, size=size(total))
                return text, None
            if path is not None:
                count += 1
                total += path.stat().st_size
        paths = locate(source, formats).paths  # Raises the error with the reason.
        sizes = [path.stat().st_size for path in paths]
    except OSError as error:
        raise LmmError(
            "{source!r} cannot be read ({error})", source=source.path, error=os_reason(error)
        ) from None
    text = tr(
        "{count:,} file, {size}" if len(paths) == 1 else "{count:,} files, {size}",
        count=len(paths),
        size=size(sum(sizes)),
    )
    return text, sum(map(text_bytes, paths, sizes)) if reads_text else None


def _find_files(given: Path, formats: tuple[str, ...]) -> Iterator[Path | None]:
    """The files of a source, and None for each folder, so that the caller can check the time."""
    from lmm_tui.data.text.containers import format_of

    starts = [str(given)] if given.exists() else glob.iglob(str(given), recursive=True)  # noqa: PTH207
    for start in map(Path, starts):
        if start.is_file() and format_of(start) in formats:
            yield start
        for folder, names, found in os.walk(start):
            names[:] = [name for name in names if not name.startswith(".")]
            yield None
            for name in found:
                path = Path(folder, name)
                if format_of(path) in formats and not name.startswith(".") and path.is_file():
                    yield path


def _vocab_size(tokenizer: str | None) -> int | None:
    if tokenizer is None:
        return None
    from lmm_tui.data.tokenizing.tokenizer import Tokenizer

    return Tokenizer.load(Path(tokenizer).expanduser()).vocab_size


if __name__ == "__main__":
    print(summarize_data(RunConfig()))
    print(summarize_data(RunConfig(data=DataConfig(source="no-such-folder"))).problems)
    print("=== 自测通过 ===")
