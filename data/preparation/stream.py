"""Text that is tokenised while it is trained on: a thread writes, readers wait for what they need.

The tokens are those of an entry of the cache that is not whole yet; what a process has written when
it ends is gone on with by the next. The tokenizer is trained on the head of the text unless one is
given. Nothing but tokens that were asked for is held in memory.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation.build import Progress, chunks
from lmm_tui.data.preparation.cache import and_kept, hold_shared, unwritable
from lmm_tui.data.preparation.prepare import entry_key
from lmm_tui.data.preparation.unfinished import Survey, Unfinished, begin
from lmm_tui.data.text.corpus import TextSource
from lmm_tui.data.text.json_rows import Skipped
from lmm_tui.data.tokenizing.document_encoder import DocumentEncoder, EncoderMismatch
from lmm_tui.data.tokenizing.fair_sample import FairSample
from lmm_tui.data.tokenizing.token_store import HEADER_SIZE, TokenStore
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.message import Message
from lmm_tui.user_folders import user_cache

HEAD = 16_000_000
"""Characters from the start of the text that a tokenizer is trained on a sample of."""
_SAMPLE_CHARACTERS = 4_000_000
_JUDGED_FROM = 1000
"""Rows after which too many broken ones end the run."""


class TokenStream:
    """Tokens by their place in the text; whoever asks for some waits until they are there."""

    def __init__(self, tokenizer: Tokenizer, entry: Path) -> None:
        self.tokenizer, self.entry = tokenizer, entry
        self.total: int | None = None
        """All tokens; None as long as there may be more."""
        self.bytes = 0
        """Bytes of text that were tokenised so far."""
        self.skipped = Skipped()
        """What was left out, once all is read."""
        self._there = 0
        self._kind = np.dtype("<u2" if tokenizer.vocab_size < 65536 else "<u4")
        self._file: int | None = None
        self._error: DataError | None = None
        self._changed = threading.Condition()
        self.stop = threading.Event()
        """Set to end the thread."""
        self.lease: object = None

    @property
    def tokens(self) -> int:
        """Those that are there."""
        return self._there

    def wait(self, tokens: int) -> bool:
        """Until so many tokens are there; False where the text has fewer."""
        with self._changed:
            while self._there < tokens and self.total is None:
                if self._error:
                    raise self._error
                self._changed.wait(1.0)
            if self._error:
                raise self._error
            return self._there >= tokens

    def read(self, start: int, stop: int) -> NDArray[np.integer[Any]]:
        """Tokens that were waited for."""
        assert self._file is not None
        width = self._kind.itemsize
        raw = os.pread(self._file, (stop - start) * width, HEADER_SIZE + start * width)
        return np.frombuffer(raw, self._kind)

    def opened(self, descriptor: int) -> None:
        """Read from a copy of this descriptor from now on."""
        self._file = os.dup(descriptor)
        weakref.finalize(self, os.close, self._file)

    def grown(self, tokens: int, size: int) -> None:
        with self._changed:
            self._there, self.bytes = tokens, size
            self._changed.notify_all()

    def ended(self, skipped: Skipped) -> None:
        with self._changed:
            self.total, self.skipped = self._there, skipped
            self._changed.notify_all()

    def failed(self, error: DataError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()


def stream(
    text: TextSource,
    *,
    tokenizer: str | None,
    vocab_size: int,
    cache_dir: Path | None,
    progress: Progress,
    threads: int | None = None,
) -> TokenStream:
    """Start to tokenise a text, or open what was tokenised before. Raises DataError."""
    given = Tokenizer.load(Path(tokenizer).expanduser()) if tokenizer else None
    vocabulary = given.fingerprint if given else f"trained on the head {vocab_size}"
    cache = (cache_dir or user_cache()).expanduser()
    entry = cache / entry_key(f"stream {text.changes}", vocabulary)
    try:
        while (lease := hold_shared(entry)) is None:
            unfinished = begin(
                entry, lambda: progress(Message("waiting for another process with this text"), 0, 0)
            )
            if unfinished is not None:
                return _started(unfinished, entry, text, given, vocab_size, progress, threads)
    except OSError as error:
        raise DataError(unwritable(cache, error)) from None
    return _whole(entry, given or Tokenizer.load(entry), lease)


def _whole(entry: Path, tokenizer: Tokenizer, lease: object) -> TokenStream:
    store = TokenStore.open(entry / "tokens.bin", tokenizer.fingerprint, lease)
    made = TokenStream(tokenizer, entry)
    made.lease = lease
    with (entry / "tokens.bin").open("rb") as file:
        made.opened(file.fileno())
    made.grown(store.tokens, store.bytes)
    made.ended(Skipped())
    return made


def _started(
    unfinished: Unfinished,
    entry: Path,
    text: TextSource,
    given: Tokenizer | None,
    vocab_size: int,
    progress: Progress,
    threads: int | None,
) -> TokenStream:
    try:
        unfinished.plan(", ".join(map(str, text.notes)) or "a stream", text.changes)
        if unfinished.survey() is None:
            if given is None:
                _train(text, vocab_size, progress).save(unfinished.folder)
            unfinished.keep(Survey(0, Skipped()))
        made = TokenStream(given or Tokenizer.load(unfinished.folder), entry)
    except BaseException:
        unfinished.close()
        raise
    worker = threading.Thread(
        target=_work, args=(made, unfinished, text, threads), name="tokenise", daemon=True
    )
    weakref.finalize(made, made.stop.set)
    worker.start()
    return made


def _train(text: TextSource, vocab_size: int, progress: Progress) -> Tokenizer:
    progress(Message("training the tokenizer"), 0, 1)
    sample, read = FairSample(_SAMPLE_CHARACTERS), 0
    for document in text.documents(Skipped()):
        sample.add(document)
        read += len(document)
        if read >= HEAD:
            break
    if not sample.blocks:
        raise DataError("data.source: holds no text; give files that do")
    return Tokenizer.train(sample.blocks, vocab_size)


def _work(
    stream: TokenStream, unfinished: Unfinished, text: TextSource, threads: int | None
) -> None:
    try:
        _tokenise(stream, unfinished, text, threads)
    except DataError as error:
        stream.failed(error)
    except OSError as error:
        stream.failed(DataError(and_kept(unwritable(unfinished.folder.parent, error))))
    except EncoderMismatch:
        unfinished.clear()
        stream.failed(
            DataError(
                "data.stream: fastokens gave other tokens than tokenizers for this text; set "
                "data.stream=false, which tokenises it with tokenizers"
            )
        )
    finally:
        unfinished.close()


def _tokenise(
    stream: TokenStream, unfinished: Unfinished, text: TextSource, threads: int | None
) -> None:
    skipped = Skipped()
    tokenizer = stream.tokenizer
    encoder = DocumentEncoder(tokenizer, True, threads)
    with unfinished.writer(tokenizer.vocab_size, tokenizer.fingerprint) as writer:
        stream.opened(writer.descriptor)
        behind = writer.written.documents
        stream.grown(writer.written.tokens, writer.written.bytes)
        going_on: Callable[[object], bool] = lambda _: not stream.stop.is_set()  # noqa: E731
        for chunk in takewhile(going_on, chunks(text.documents(skipped))):
            fresh = chunk[behind:]
            behind = max(0, behind - len(chunk))
            if fresh:
                ids, lengths = encoder.encode(fresh)
                written = writer.add(ids, lengths, [len(one.encode()) for one in fresh])
                unfinished.record(written)
                stream.grown(written.tokens, written.bytes)
            if skipped.lines >= _JUDGED_FROM:
                _refuse(skipped, text)
        if stream.stop.is_set():
            return
        _refuse(skipped, text)
        writer.finish()
    unfinished.complete({"source": "a stream", "skipped": asdict(skipped)})
    stream.lease = hold_shared(stream.entry)
    stream.ended(skipped)


def _refuse(skipped: Skipped, text: TextSource) -> None:
    if skipped.too_many:
        raise DataError(skipped.refusal(text.locate(skipped.first[0])))


if __name__ == "__main__":
    from lmm_tui.data.text.corpus import BUILTIN, open_text

    with tempfile.TemporaryDirectory() as scratch:
        demo = stream(
            open_text(BUILTIN, 0.3), tokenizer=None, vocab_size=400, cache_dir=Path(scratch),
            progress=lambda *_: None,
        )  # fmt: skip
        assert demo.wait(1000)
        print(demo.read(990, 1000), demo.total)
        while demo.wait(demo.tokens + 1):
            time.sleep(0.01)
        print(demo.total, "tokens in all")
    print("=== 自测通过 ===")
