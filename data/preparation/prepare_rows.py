"""Prepare rows of chats, pairs or prompts: tokenise them once into the cache, with marks on what is
learnt.

An entry holds one side of the rows, whole, so it serves any length of rows. The built-in rows are
few and stay in memory.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from lmm_tui.data.chat.rendering import Rendering, TalkRendering
from lmm_tui.data.chat.spans import Rendered
from lmm_tui.data.preparation.build import Progress, build_entry
from lmm_tui.data.preparation.cache import hold_shared
from lmm_tui.data.preparation.prepare import cached_skipped, entry_key, trained_tokenizer
from lmm_tui.data.preparation.unfinished import Unfinished
from lmm_tui.data.text.corpus import TextInMemory
from lmm_tui.data.text.dataset import Dataset
from lmm_tui.data.text.json_rows import Skipped
from lmm_tui.data.tokenizing.fair_sample import fair_sample
from lmm_tui.data.tokenizing.learnt_tokens import LearntTokens, mark, marked_vocabulary
from lmm_tui.data.tokenizing.token_store import TokenWriter
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.message import Message
from lmm_tui.user_folders import user_cache

T = TypeVar("T")

_SAMPLE_CHARACTERS = 2_000_000
"""Characters of rows to train a tokenizer on."""
_CHUNK = 512
"""Rows that are rendered at once, while the next ones are read."""


@dataclass(frozen=True)
class PreparedRows:
    tokens: LearntTokens
    entry: Path | None
    """Its folder in the cache; None where the tokens are in memory."""
    notes: tuple[str, ...] = ()
    """Sentences for people about how they were prepared."""


def prepare_rows(
    rows: Dataset[T],
    rendering: Rendering[T],
    *,
    named: str,
    cache_dir: Path | None,
    progress: Progress,
) -> PreparedRows:
    """The tokens of rows in order; from the cache if they were prepared before.

    `named` is how people have named the source; `cache_dir` as for `prepare`. `rows.skipped` is
    then that of a whole pass. Raises DataError, one sentence, if rows or cache cannot be used.
    """
    if not rows.paths:
        return PreparedRows(LearntTokens.of(_rendered(rows, rendering)), None)
    tokenizer = rendering.tokenizer
    identity = f"{rows.kind} {rows.identity(progress)}"
    key = entry_key(identity, f"{tokenizer.fingerprint} {rendering.identity}")
    entry = (cache_dir or user_cache()).expanduser() / key
    source = f"{named} ({rows.kind})"

    def fill(unfinished: Unfinished) -> list[str]:
        _tokenise(unfinished, rows, rendering, progress)
        unfinished.complete({"source": source, "skipped": asdict(rows.skipped)})
        return []

    notes: list[str] = []
    while (lease := hold_shared(entry)) is None:
        notes += build_entry(entry, identity, source, fill, progress)
    tokens = LearntTokens.open(entry / "tokens.bin", tokenizer.fingerprint, lease)
    rows.skipped = cached_skipped(entry / "corpus.json")
    return PreparedRows(tokens, entry, tuple(notes))


def tokenizer_of_rows(
    rows: Dataset[T],
    texts: Callable[[T], Iterable[str]],
    vocab_size: int,
    *,
    named: str,
    cache_dir: Path | None,
    progress: Progress,
) -> Tokenizer:
    """A tokenizer trained on a sample of the texts of rows; kept in the cache, too."""
    sample = _SampledRows(rows, texts)
    if not rows.paths:
        return Tokenizer.train(sample.documents(Skipped()), vocab_size)
    return trained_tokenizer(sample, vocab_size, cache_dir, progress, f"{named} ({rows.kind})")


class _SampledRows(TextInMemory):
    """The sample as a text."""

    def __init__(self, rows: Dataset[T], texts: Callable[[T], Iterable[str]]) -> None:
        self._rows, self.size = rows, rows.size
        self._read = lambda: (text for row in rows for text in texts(row))

    def identity(self, progress: Callable[[str, int, int], None]) -> str:
        return f"sample of {self._rows.kind} {self._rows.identity(progress)}"

    @property
    def changes(self) -> str:
        raise AssertionError("a sample of rows is not streamed")

    @cached_property
    def _texts(self) -> list[str]:
        sample = fair_sample(self._read(), _SAMPLE_CHARACTERS)
        return [text.encode("utf-8", "replace").decode() for text in sample]


def _rendered(rows: Dataset[T], rendering: Rendering[T]) -> Iterator[Rendered]:
    for chunk in _chunks(rows):
        yield from rendering.render(chunk)


def _tokenise(
    unfinished: Unfinished, rows: Dataset[T], rendering: Rendering[T], progress: Progress
) -> None:
    """Render by the hundred, from behind what was written before; read the next ones meanwhile."""
    tokenizer = rendering.tokenizer
    vocabulary = marked_vocabulary(tokenizer.vocab_size)
    with (
        unfinished.writer(vocabulary, tokenizer.fingerprint) as writer,
        ThreadPoolExecutor(1) as pool,
    ):
        behind = writer.written.documents
        waiting: Future[list[Rendered]] | None = None
        for chunk in _chunks(rows):
            known = 0
            while behind and known < len(chunk):
                behind -= rendering.count(chunk[known])
                known += 1
            if known < len(chunk):
                following = pool.submit(rendering.render, chunk[known:])
                if waiting is not None:
                    _write(writer, unfinished, waiting.result())
                waiting = following
            progress(Message("tokenising"), min(2 * writer.written.tokens, rows.size), rows.size)
        if waiting is not None:
            _write(writer, unfinished, waiting.result())
        writer.finish()


def _write(writer: TokenWriter, unfinished: Unfinished, texts: list[Rendered]) -> None:
    marked = [mark(ids, learnt) for ids, learnt in texts]
    lengths = [len(one) for one in marked]
    unfinished.record(
        writer.add(np.concatenate(marked or [np.zeros(0, np.uint32)]), lengths, [0] * len(texts))
    )


def _chunks(rows: Dataset[T]) -> Iterator[list[T]]:
    """The same ones each time."""
    chunk: list[T] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


if __name__ == "__main__":
    from lmm_tui.data.chat.conversations import read_conversations
    from lmm_tui.data.turns import Conversation

    row = {"messages": [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "2"}]}
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "a.jsonl").write_text(json.dumps(row), encoding="utf-8")
        read = read_conversations(f"{scratch}/a.jsonl", val_fraction=0)
        learnt = Tokenizer.train(["user assistant 1? 2 "] * 9, 300)
        told = TalkRendering[Conversation](lambda talk: [talk], learnt)
        for _ in range(2):
            prepared = prepare_rows(
                read, told, named="a.jsonl", cache_dir=Path(scratch, "cache"), progress=print
            )
        print(prepared.entry, prepared.tokens[0])
        assert prepared.tokens[0] == told.render([*read])[0]
    print("=== 自测通过 ===")
