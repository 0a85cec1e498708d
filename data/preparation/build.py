"""Write an entry of the cache: read the text through, train a tokenizer, tokenise.

Whatever ends the process meanwhile, the next one goes on behind the last batch of tokens.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation.cache import and_kept, bytes_in, unwritable
from lmm_tui.data.preparation.unfinished import Survey, Unfinished, begin, sweep
from lmm_tui.data.text.corpus import BUILTIN, TextSource, open_text
from lmm_tui.data.text.json_rows import Skipped
from lmm_tui.data.tokenizing.document_encoder import DocumentEncoder, EncoderMismatch
from lmm_tui.data.tokenizing.fair_sample import FairSample
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.message import Message

Progress = Callable[[str, int, int], None]
"""Called with (activity, done, total); may raise to cancel."""

IN_BYTES = ("hashing", "reading", "tokenising")
"""Activities whose progress is in bytes."""

_SAMPLE_CHARACTERS = 4_000_000
_CHUNK_BYTES = 1_000_000
_LARGE_CACHE = 20_000_000_000
"""Bytes above which a cache is mentioned whenever it grows."""


def build(
    entry: Path,
    text: TextSource,
    identity: str,
    source: str,
    given: Tokenizer | None,
    vocab_size: int,
    progress: Progress,
    threads: int | None = None,
) -> list[str]:
    """Write the entry of a text, or wait until another process has; returns notes for people."""

    def fill(unfinished: Unfinished) -> list[str]:
        tokenised = partial(_fill, unfinished, text, source, given, vocab_size, progress, threads)
        try:
            tokenised(fast=True)
        except EncoderMismatch:
            unfinished.clear()
            tokenised(fast=False)
            return [_replaced_note()]
        return []

    return build_entry(entry, identity, source, fill, progress)


def build_entry(
    entry: Path,
    identity: str,
    source: str,
    fill: Callable[[Unfinished], list[str]],
    progress: Progress,
) -> list[str]:
    """Let `fill` write an entry, or wait until another process has; returns notes for people.

    `identity` is that of what it is made of, and `source` how people have named that.
    """
    unfinished = None
    notes = []
    try:
        unfinished = begin(
            entry, lambda: progress(Message("waiting for another process with this text"), 0, 0)
        )
        if unfinished is None:
            return []
        place = source if source == BUILTIN else str(Path(source).expanduser().absolute())
        if sweep(entry, place, identity):
            notes.append(_changed_note())
        unfinished.plan(place, identity)
        notes += fill(unfinished)
    except OSError as error:
        refusal = unwritable(entry.parent, error)
        kept = unfinished and unfinished.has_tokens
        raise DataError(and_kept(refusal) if kept else refusal) from None
    except DataError:
        if unfinished:
            unfinished.discard()
        raise
    finally:
        if unfinished:
            unfinished.close()
    size = bytes_in(entry.parent)
    if size > _LARGE_CACHE:
        notes.append(_large_note(entry.parent, size))
    return notes


def _changed_note() -> str:
    return Message(
        "data.source: the text has changed since a part of it was tokenised; "
        "that part was removed, and all of it was tokenised anew"
    )


def _replaced_note() -> str:
    return Message(
        "fastokens gave other tokens than tokenizers for this text; they were "
        "discarded, and tokenizers made them"
    )


def _large_note(cache: Path, size: int) -> str:
    return Message(
        "the cache {cache} has grown to {size:.0f} GB; `lmm-tui cache` lists it, "
        "`lmm-tui cache prune --older-than 30d` makes room",
        cache=cache,
        size=size / 1e9,
    )


def _fill(
    unfinished: Unfinished,
    text: TextSource,
    source: str,
    given: Tokenizer | None,
    vocab_size: int,
    progress: Progress,
    threads: int | None,
    fast: bool,
) -> None:
    survey = unfinished.survey()
    if survey is None:
        survey, sample = _survey(text, source, progress)
        if given is None:
            progress(Message("training the tokenizer"), 0, 1)
            Tokenizer.train(sample, vocab_size).save(unfinished.folder)
        sample.clear()
        unfinished.keep(survey)
    tokenizer = given or Tokenizer.load(unfinished.folder)
    encoder = DocumentEncoder(tokenizer, fast, threads)
    _tokenise(unfinished, text, survey.size, tokenizer, encoder, progress)
    unfinished.complete({"source": source, "skipped": asdict(survey.skipped)})


def _survey(text: TextSource, source: str, progress: Progress) -> tuple[Survey, list[str]]:
    """Read everything once; a sample to train a tokenizer on comes along.

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
            progress(Message("reading"), min(size, text.size), text.size)
    if skipped.too_many:
        raise DataError(skipped.refusal(text.locate(skipped.first[0])))
    if not sample.blocks:
        raise DataError("data.source: {source!r} holds no text; give files that do", source=source)
    progress(Message("reading"), text.size, text.size)
    return Survey(size, skipped), sample.blocks


def _tokenise(
    unfinished: Unfinished,
    text: TextSource,
    size: int,
    tokenizer: Tokenizer,
    encoder: DocumentEncoder,
    progress: Progress,
) -> None:
    """Tokenise by the megabyte, from behind what was written before."""
    with unfinished.writer(tokenizer.vocab_size, tokenizer.fingerprint) as writer:
        behind = writer.written.documents
        done = 0
        for chunk in chunks(text.documents(Skipped())):
            known, behind = chunk[:behind], max(0, behind - len(chunk))
            done += sum(len(document.encode()) for document in known)
            fresh = chunk[len(known) :]
            if not fresh:
                progress(Message("reading"), min(done, size), size)
                continue
            ids, lengths = encoder.encode(fresh)
            sizes = [len(document.encode()) for document in fresh]
            done += sum(sizes)
            progress(Message("tokenising"), done, size)
            unfinished.record(writer.add(ids, lengths, sizes))
        writer.finish()


def chunks(documents: Iterator[str]) -> Iterator[list[str]]:
    """Documents by the megabyte: the same ones each time, so that what was done can be counted."""
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


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "0" * 24)
        build(demo, open_text(BUILTIN, 0.1), "", BUILTIN, None, 512, print)
        print(sorted(path.name for path in demo.iterdir()))
    print("=== 自测通过 ===")
