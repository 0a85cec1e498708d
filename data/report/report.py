"""What a source holds, in one pass: rows, tokens, lengths, scripts, duplicates, overlap."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from lmm_tui.data.builtin.task import KINDS
from lmm_tui.data.builtin.tasks import test_set
from lmm_tui.data.chat.template import CHATML, render_all
from lmm_tui.data.report.near_duplicates import LONGEST, NearDuplicates
from lmm_tui.data.report.overlap import SIZE, Overlap
from lmm_tui.data.report.samples import Item, Samples, columns_of, kind_of
from lmm_tui.data.report.scripts import Scripts
from lmm_tui.data.report.word_grams import gram_hashes, words
from lmm_tui.data.text.corpus import BUILTIN
from lmm_tui.data.text.locate import locate
from lmm_tui.data.text.source import Source
from lmm_tui.data.tokenizing.document_encoder import DocumentEncoder
from lmm_tui.data.tokenizing.fair_sample import FairSample
from lmm_tui.data.tokenizing.tokenizer import Tokenizer

MOST_COMPARED = 100_000
"""Rows that are compared for near duplicates and overlap: the first ones."""
_SAMPLE_CHARACTERS = 1_000_000
_TOGETHER = 256
_QUESTIONS = 200
_SHOWN = 10

Progress = Callable[[int], None]
"""Called with the rows read so far."""


@dataclass(frozen=True)
class DataReport:
    """What one source holds; counts are of all rows unless a field says otherwise."""

    source: str
    kind: str
    files: int
    bytes: int
    columns: dict[str, str]
    rows: int
    """Documents of text; rows of conversations, pairs and prompts."""
    characters: int
    tokens: int
    """Of a row with several answers those of the longest, with its prompt."""
    tokenizer: str
    lengths: dict[str, int]
    """Rows by their number of tokens: `0-15`, `16-31`, … twice as wide each."""
    mean: float
    median: float
    longest: int
    scripts: dict[str, float]
    exact_duplicates: int
    near_duplicates: int
    compared: int
    """Rows of which near duplicates and overlap are known."""
    overlapping: int
    overlap: dict[str, tuple[int, int]]
    """Questions of each task that were found, of how many."""
    truncated: int
    """Rows longer than the sequence length."""
    seq_len: int
    bad: int
    bad_rows: tuple[str, ...]
    filtered: int
    unused: tuple[str, ...]
    notes: tuple[str, ...]


def report(
    source: Source,
    *,
    kind: str = "",
    tokenizer: str | None = None,
    vocab_size: int = 6400,
    seq_len: int = 256,
    tasks: Mapping[str, Iterable[str]] | None = None,
    builtin_mb: float = 6.0,
    progress: Progress = lambda rows: None,
) -> DataReport:
    """Read a source; `tasks` are questions by task beside the built-in ones. Raises DataError."""
    columns = columns_of(source)
    kind = kind or kind_of([*columns], [name for name, _ in source.columns])
    located = None if source.path == BUILTIN else locate(source)
    samples = Samples(source, kind, builtin_mb)
    given, named = _tokenizer(samples, tokenizer, vocab_size)
    pass_ = _Pass(given, seq_len, {**_builtin_tasks(), **(tasks or {})})
    for item in samples:
        pass_.add(item)
        if pass_.rows % _TOGETHER == 0:
            progress(pass_.rows)
    pass_.flush()
    lengths = np.array(pass_.lengths or [0])
    skipped = samples.skipped
    return DataReport(
        source=str(source),
        kind=kind,
        files=len(located.paths) if located else 0,
        bytes=sum(path.stat().st_size for path in located.paths) if located else 0,
        columns=columns,
        rows=pass_.rows,
        characters=pass_.characters,
        tokens=int(lengths.sum()),
        tokenizer=named,
        lengths=_histogram(pass_.lengths),
        mean=float(lengths.mean()),
        median=float(np.median(lengths)),
        longest=int(lengths.max()),
        scripts=pass_.scripts.shares,
        exact_duplicates=pass_.exact,
        near_duplicates=pass_.near.count,
        compared=min(pass_.rows, MOST_COMPARED),
        overlapping=pass_.overlap.rows,
        overlap={
            task: (pass_.overlap.seen[task], count)
            for task, count in pass_.overlap.questions.items()
        },
        truncated=int((lengths > seq_len + 1).sum()) if kind != "text" else 0,
        seq_len=seq_len,
        bad=skipped.count,
        bad_rows=samples.skipped_rows[:_SHOWN],
        filtered=skipped.filtered,
        unused=tuple(skipped.unused),
        notes=located.notes if located else (),
    )


class _Pass:
    """What is counted while rows are read."""

    def __init__(self, tokenizer: Tokenizer, seq_len: int, tasks: Mapping[str, Iterable[str]]):
        self.rows = self.characters = 0
        self.lengths = array("q")
        self.scripts, self.near, self.overlap = Scripts(), NearDuplicates(), Overlap(tasks)
        self._tokenizer = tokenizer
        self._encoder = DocumentEncoder(tokenizer, True, None)
        self._digests = array("Q")
        self._held: list[Item] = []

    def add(self, item: Item) -> None:
        self.rows += 1
        self.characters += len(item.text)
        self.scripts.add(item.text)
        key = hashlib.blake2b(item.text.encode("utf-8", "replace"), digest_size=8).digest()
        self._digests.frombytes(key)
        if self.rows <= MOST_COMPARED:
            self._compare(item)
        self._held.append(item)
        if len(self._held) >= _TOGETHER:
            self.flush()

    @property
    def exact(self) -> int:
        """Rows that are the same as one before."""
        return self.rows - len(np.unique(np.array(self._digests, np.uint64)))

    def _compare(self, item: Item) -> None:
        runs = gram_hashes(words(item.text), SIZE)
        self.overlap.add_runs(runs, item.asked)
        if len(item.text) <= LONGEST:
            self.near.add_runs(runs)
        else:
            self.near.add(item.text)

    def flush(self) -> None:
        """Count the tokens of what is held."""
        held, self._held = self._held, []
        if not held:
            return
        if held[0].talks:
            talks = (talk for item in held for talk in item.talks)
            counts = (len(ids) for ids, _ in render_all(talks, self._tokenizer, CHATML))
            self.lengths.extend(max(islice(counts, len(item.talks))) for item in held)
        else:
            self.lengths.extend(map(int, self._encoder.encode([one.text for one in held])[1]))


def _tokenizer(samples: Samples, given: str | None, vocab_size: int) -> tuple[Tokenizer, str]:
    if given is not None:
        return Tokenizer.load(Path(given).expanduser()), given
    sample = FairSample(_SAMPLE_CHARACTERS)
    held = 0
    for item in samples:
        sample.add(item.text)
        held += len(item.text)
        if held > 8 * _SAMPLE_CHARACTERS:
            break
    return Tokenizer.train(sample.blocks or ["a"], vocab_size), f"trained {vocab_size}"


def _builtin_tasks() -> dict[str, list[str]]:
    return {f"lmm_{kind}": [one.question for one in test_set(kind, _QUESTIONS)] for kind in KINDS}


def _histogram(lengths: Sequence[int]) -> dict[str, int]:
    """Counts by powers of two."""
    if not lengths:
        return {}
    bins = np.bincount(np.maximum(np.frexp(lengths)[1] - 4, 0))
    return {
        f"{0 if at == 0 else 8 << at}-{(16 << at) - 1}": int(count) for at, count in enumerate(bins)
    }


if __name__ == "__main__":
    demo = report(Source(BUILTIN), builtin_mb=0.1, vocab_size=512)
    print(demo)
    assert demo.rows == sum(demo.lengths.values())
    print("=== 自测通过 ===")
