"""Prepare text for training: tokenise it once into a cache, and split it into train and validation.

A cache entry is a folder named by a hash of the text and the tokenizer; it never changes. The
validation part is cut off when the entry is opened, so one entry serves all fractions.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation.build import Progress, build
from lmm_tui.data.preparation.cache import Lease, hold_shared, read_json
from lmm_tui.data.preparation.entropy import unigram_and_bigram
from lmm_tui.data.preparation.unfinished import skipped_from, write_json
from lmm_tui.data.text.corpus import BUILTIN, TextSource, open_text
from lmm_tui.data.text.json_rows import Skipped
from lmm_tui.data.text.source import Source
from lmm_tui.data.tokenizing.token_store import TokenStore
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.message import Message
from lmm_tui.user_folders import user_cache

_FORMAT = 2
"""Part of every key: increment it when the same text would give other tokens."""


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
    unused: tuple[str, ...]
    """Names of fields of JSONL lines that have no effect."""
    columns: tuple[str, ...]
    """Names of the columns from which text was read."""
    chosen: tuple[str, ...]
    """Sentences for people about which files were chosen."""
    entry: Path
    """Its folder in the cache, held as long as `train` or `val` is."""
    notes: tuple[str, ...]
    """Sentences for people about how it was prepared."""


def prepare(
    source: str | Source | Sequence[str | Source],
    *,
    tokenizer: str | Tokenizer | None,
    vocab_size: int,
    seq_len: int,
    val_fraction: float,
    builtin_mb: float,
    cache_dir: Path | None,
    progress: Progress | None,
    threads: int | None = None,
) -> Corpus:
    """The text of `source`, tokenised; from the cache if it was prepared before.

    source: `builtin`, or files, a folder, a glob or a dataset by name; or several of these.
    tokenizer: a tokenizer.json or Hugging Face folder; None trains one of `vocab_size` tokens.
    val_fraction: the fraction of the tokens, from the end, that is for validation.
    cache_dir: None is `$XDG_CACHE_HOME/lmm-tui` or `~/.cache/lmm-tui`.
    threads: how many tokenise at most; None is all CPUs that the process may use.
    progress: an exception from it cancels the preparation; tokens made so far are kept.

    Raises DataError, one sentence, if the text, the tokenizer or the cache cannot be used.
    """
    report = _silent if progress is None else progress
    text = open_text(source, builtin_mb)
    named = ", ".join(map(str, [source] if isinstance(source, str | Source) else source))
    given = (
        Tokenizer.load(Path(tokenizer).expanduser()) if isinstance(tokenizer, str) else tokenizer
    )
    vocabulary = given.fingerprint if given else f"trained {vocab_size}"
    cache = (cache_dir or user_cache()).expanduser()
    identity = text.identity(report)
    entry = cache / entry_key(identity, vocabulary)
    notes: list[str] = []
    while (lease := hold_shared(entry)) is None:
        notes += build(entry, text, identity, named, given, vocab_size, report, threads)
    return _open(entry, lease, text, given, seq_len, val_fraction, notes, report)


def trained_tokenizer(
    sample: TextSource,
    vocab_size: int,
    cache_dir: Path | None,
    progress: Progress | None,
    named: str,
) -> Tokenizer:
    """A tokenizer of `vocab_size` tokens, trained on a text; kept in the cache with its tokens."""
    report = _silent if progress is None else progress
    identity = sample.identity(report)
    entry = (cache_dir or user_cache()).expanduser() / entry_key(identity, f"trained {vocab_size}")
    while (lease := hold_shared(entry)) is None:
        build(entry, sample, identity, named, None, vocab_size, report)
    try:
        return _cached_tokenizer(entry)
    finally:
        lease.close()


def entry_key(identity: str, vocabulary: str) -> str:
    """The name of the entry for a text and a vocabulary."""
    parts = json.dumps([_FORMAT, identity, vocabulary])
    return hashlib.blake2b(parts.encode(), digest_size=12).hexdigest()


def _open(
    entry: Path,
    lease: Lease,
    text: TextSource,
    given: Tokenizer | None,
    seq_len: int,
    val_fraction: float,
    notes: list[str],
    progress: Progress,
) -> Corpus:
    tokenizer = given or _cached_tokenizer(entry)
    store = TokenStore.open(entry / "tokens.bin", tokenizer.fingerprint, lease)
    cut = _cut(store, seq_len, val_fraction)
    train, val = store.split(cut)
    unigram, bigram = _entropies(entry / f"entropy-{cut}.json", train, progress)
    skipped = cached_skipped(entry / "corpus.json")
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
        unused=tuple(skipped.unused),
        columns=tuple(skipped.columns),
        chosen=text.notes,
        entry=entry,
        notes=(*notes, *skipped.lacking_notes),
    )


def _cut(store: TokenStore, seq_len: int, val_fraction: float) -> int:
    """Index of the first validation token.

    Both sides get at least one sequence. The cut is between two documents, unless that would make
    the validation part more than twice as large as requested: then it is inside one.
    """
    block = seq_len + 1
    if store.tokens < 2 * block:
        raise DataError(
            "data.source: corpus shorter than one sequence: has {tokens} tokens, "
            "needs {block} (data.seq_len + 1, to train on and to hold out each); "
            "give more text or a smaller data.seq_len",
            tokens=store.tokens,
            block=2 * block,
        )
    wanted = max(block, round(store.tokens * val_fraction))
    latest = min(store.tokens - block, store.tokens - wanted)
    before = int(np.searchsorted(store.document_ends, latest, side="right"))
    end = int(store.document_ends[before - 1]) if before else 0
    return end if end >= max(block, store.tokens - 2 * wanted) else max(block, latest)


def _entropies(record: Path, train: TokenStore, progress: Progress) -> tuple[float, float]:
    """Unigram and bigram entropy of the training tokens; cached by where the entry was cut."""
    with suppress(ValueError, KeyError, TypeError):
        known = read_json(record)
        return float(known["unigram"]), float(known["bigram"])
    progress(Message("measuring entropy"), 0, 1)
    unigram, bigram = unigram_and_bigram(train.ids)
    with suppress(OSError):  # A read-only cache works, too.
        write_json(record, {"unigram": unigram, "bigram": bigram})
    return unigram, bigram


def _cached_tokenizer(entry: Path) -> Tokenizer:
    try:
        return Tokenizer.load(entry)
    except DataError:
        raise _damaged(entry / "tokenizer.json") from None


def cached_skipped(record: Path) -> Skipped:
    """What was left out when an entry was written, by its `corpus.json`."""
    try:
        return skipped_from(read_json(record)["skipped"])
    except (AttributeError, KeyError, TypeError):
        raise _damaged(record) from None


def _damaged(path: Path) -> DataError:
    return DataError(
        "{path}: is damaged; delete {parent}, and it will be made again",
        path=path,
        parent=path.parent,
    )


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
