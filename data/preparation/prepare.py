"""Prepare text for training: tokenise it once into a cache, and split it into train and validation.

A cache entry is a folder named by a hash of the text and the tokenizer; it never changes. The
validation part is cut off when the entry is opened, so one entry serves all fractions.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation.entropy import unigram_and_bigram
from lmm_tui.data.text.corpus import BUILTIN, TextSource, open_text
from lmm_tui.data.text.json_rows import BadLine, Skipped
from lmm_tui.data.tokenizing.fair_sample import FairSample
from lmm_tui.data.tokenizing.token_store import TokenStore, write_tokens
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.guarded_files import make_private, replace_text

Progress = Callable[[str, int, int], None]
"""Called with (activity, done, total); may raise to cancel."""

_FORMAT = 2
"""Part of every key: increment it when the same text would give other tokens."""

_SAMPLE_CHARACTERS = 4_000_000
_CHUNK_BYTES = 1_000_000


@dataclass(frozen=True)
class Corpus:
    """Tokenised text, split into training and validation tokens."""

    tokenizer: Tokenizer
    train: TokenStore
    val: TokenStore
    unigram_entropy: float
    """Of the training tokens, in nats per token; see `entropy.py`."""
    bigram_entropy: float
    """Of the training tokens given the previous one, in nats per token."""
    fingerprint: str
    """Equal for the same text with the same tokenizer."""
    documents: int
    skipped: tuple[str, ...]
    """`file:line: why` of the first 100 JSONL lines that were skipped."""
    skipped_count: int
    """How many lines were skipped."""


def prepare(
    source: str,
    *,
    tokenizer: str | None,
    vocab_size: int,
    seq_len: int,
    val_fraction: float,
    builtin_mb: float,
    cache_dir: Path | None,
    progress: Progress | None,
) -> Corpus:
    """The text of `source`, tokenised; from the cache if it was prepared before.

    source: `builtin`, or a .txt or .jsonl file, a folder or a glob of them.
    tokenizer: a tokenizer.json or Hugging Face folder; None trains one of `vocab_size` tokens.
    val_fraction: the fraction of the tokens, from the end, that is for validation.
    cache_dir: None is `$XDG_CACHE_HOME/lmm-tui` or `~/.cache/lmm-tui`.
    progress: an exception from it cancels the preparation and leaves no files.

    Raises DataError, one sentence, if the text, the tokenizer or the cache cannot be used.
    """
    report = _silent if progress is None else progress
    text = open_text(source, builtin_mb)
    given = Tokenizer.load(Path(tokenizer).expanduser()) if tokenizer else None
    vocabulary = given.fingerprint if given else f"trained {vocab_size}"
    cache = (cache_dir or user_cache()).expanduser()
    entry = cache / _key(text.identity(report), vocabulary)
    if not entry.is_dir():
        try:
            _build(entry, text, source, given, vocab_size, report)
        except OSError as error:
            raise DataError(
                f"data.cache_dir: {cache} cannot be written ({error.strerror}); "
                "make room there or choose another folder"
            ) from None
    return _open(entry, text, given, seq_len, val_fraction, report)


def user_cache() -> Path:
    """The cache folder unless `data.cache_dir` is set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lmm-tui"


def _key(identity: str, vocabulary: str) -> str:
    parts = json.dumps([_FORMAT, identity, vocabulary])
    return hashlib.blake2b(parts.encode(), digest_size=12).hexdigest()


def _build(
    entry: Path,
    text: TextSource,
    source: str,
    given: Tokenizer | None,
    vocab_size: int,
    progress: Progress,
) -> None:
    """Build a cache entry in a temporary folder and rename it; a second process keeps the first."""
    make_private(entry.parent)
    partial = Path(tempfile.mkdtemp(prefix=f".{entry.name}.", dir=entry.parent))
    try:
        size, sample, skipped = _survey(text, source, progress)
        if given is None:
            progress("training the tokenizer", 0, 1)
            tokenizer = Tokenizer.train(sample, vocab_size)
            tokenizer.save(partial)
        else:
            tokenizer = given
        sample.clear()
        write_tokens(
            partial / "tokens.bin",
            _tokenised(text, tokenizer, size, progress),
            tokenizer.vocab_size,
            tokenizer.fingerprint,
        )
        record = {"source": source, "skipped": asdict(skipped)}
        _write_json(partial / "corpus.json", record)
        try:
            partial.rename(entry)
        except OSError:
            if not entry.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _survey(text: TextSource, source: str, progress: Progress) -> tuple[int, list[str], Skipped]:
    """Read everything once: bytes of text, a sample to train a tokenizer on, skipped lines.

    The sample covers the whole corpus, whatever its order.
    """
    skipped = Skipped()
    sample = FairSample(_SAMPLE_CHARACTERS)
    size = reported = 0
    for document in text.documents(skipped):
        size += len(document.encode())
        sample.add(document)
        if size - reported >= _CHUNK_BYTES:
            reported = size
            progress("reading", min(size, text.size), text.size)
    if skipped.too_many:
        raise DataError(skipped.refusal(text.locate(skipped.first[0])))
    if not sample.blocks:
        raise DataError(f"data.source: {source!r} holds no text; give files that do")
    progress("reading", text.size, text.size)
    return size, sample.blocks, skipped


def _tokenised(
    text: TextSource, tokenizer: Tokenizer, size: int, progress: Progress
) -> Iterator[tuple[list[int], int]]:
    """(ids with the end token, bytes of text) of each document, tokenised by the megabyte."""
    done = 0
    for chunk in _chunks(text.documents(Skipped())):
        for document, ids in zip(chunk, tokenizer.encode_batch(chunk), strict=True):
            length = len(document.encode())
            done += length
            yield [*ids, tokenizer.eos_id], length
        progress("tokenising", done, size)


def _chunks(documents: Iterator[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    held = 0
    for document in documents:
        chunk.append(document)
        held += len(document)
        if held >= _CHUNK_BYTES:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _open(
    entry: Path,
    text: TextSource,
    given: Tokenizer | None,
    seq_len: int,
    val_fraction: float,
    progress: Progress,
) -> Corpus:
    tokenizer = given or _cached_tokenizer(entry)
    store = TokenStore.open(entry / "tokens.bin", tokenizer.fingerprint)
    cut = _cut(store, seq_len, val_fraction)
    train, val = store.split(cut)
    unigram, bigram = _entropies(entry / f"entropy-{cut}.json", train, progress)
    skipped = _cached_skipped(entry / "corpus.json")
    return Corpus(
        tokenizer=tokenizer,
        train=train,
        val=val,
        unigram_entropy=unigram,
        bigram_entropy=bigram,
        fingerprint=entry.name,
        documents=store.documents,
        skipped=tuple(text.locate(bad) for bad in skipped.first),
        skipped_count=skipped.count,
    )


def _cut(store: TokenStore, seq_len: int, val_fraction: float) -> int:
    """Index of the first validation token.

    Both sides get at least one sequence. The cut is between two documents, unless that would make
    the validation part more than twice as large as requested: then it is inside one.
    """
    block = seq_len + 1
    if store.tokens < 2 * block:
        raise DataError(
            f"data.source: corpus shorter than one sequence: has {store.tokens} tokens, needs "
            f"{2 * block} (data.seq_len + 1, to train on and to hold out each); give more text "
            "or a smaller data.seq_len"
        )
    wanted = max(block, round(store.tokens * val_fraction))
    latest = min(store.tokens - block, store.tokens - wanted)
    before = int(np.searchsorted(store.document_ends, latest, side="right"))
    end = int(store.document_ends[before - 1]) if before else 0
    return end if end >= max(block, store.tokens - 2 * wanted) else max(block, latest)


def _entropies(record: Path, train: TokenStore, progress: Progress) -> tuple[float, float]:
    """Unigram and bigram entropy of the training tokens; cached by where the entry was cut."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(record.read_text(encoding="utf-8"))
        return float(known["unigram"]), float(known["bigram"])
    progress("measuring entropy", 0, 1)
    unigram, bigram = unigram_and_bigram(train.ids)
    with suppress(OSError):  # A read-only cache works, too.
        _write_json(record, {"unigram": unigram, "bigram": bigram})
    return unigram, bigram


def _cached_tokenizer(entry: Path) -> Tokenizer:
    try:
        return Tokenizer.load(entry)
    except DataError:
        raise _damaged(entry / "tokenizer.json") from None


def _cached_skipped(record: Path) -> Skipped:
    try:
        kept = json.loads(record.read_text(encoding="utf-8"))["skipped"]
        return Skipped(kept["lines"], kept["count"], [BadLine(**bad) for bad in kept["first"]])
    except (OSError, ValueError, KeyError, TypeError):
        raise _damaged(record) from None


def _damaged(path: Path) -> DataError:
    return DataError(f"{path}: is damaged; delete {path.parent}, and it will be made again")


def _write_json(path: Path, record: dict[str, Any]) -> None:
    """Write atomically: two processes may open the same entry."""
    replace_text(path, json.dumps(record, ensure_ascii=False) + "\n")


def _silent(label: str, done: int, total: int) -> None:
    pass


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        made = prepare(
            BUILTIN, tokenizer=None, vocab_size=512, seq_len=64, val_fraction=0.05, builtin_mb=0.1,
            cache_dir=Path(scratch), progress=print,
        )  # fmt: skip
        print(made.documents, "documents,", made.train.tokens, "+", made.val.tokens, "tokens")
    print("=== 自测通过 ===")
