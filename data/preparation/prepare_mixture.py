"""Prepare the sources of a mixture: one tokenizer for all, and an entry of the cache for each.

So a change of weights, or one more source, tokenises nothing anew but what is new.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path

from lmm_tui.data.preparation.prepare import Corpus, Progress, prepare, trained_tokenizer
from lmm_tui.data.text.corpus import BUILTIN, TextInMemory, TextSource, open_text
from lmm_tui.data.text.json_rows import Skipped
from lmm_tui.data.text.source import Source
from lmm_tui.data.tokenizing.fair_sample import FairSample
from lmm_tui.data.tokenizing.tokenizer import Tokenizer

_SAMPLE_CHARACTERS = 4_000_000


class SampledText(TextInMemory):
    """A sample of several sources, each with its share: a tokenizer is trained on it."""

    def __init__(self, parts: Sequence[TextSource], weights: Sequence[float]) -> None:
        self._parts = parts
        self._shares = [weight / sum(weights) for weight in weights]
        self.size = sum(part.size for part in parts)

    def identity(self, progress: Callable[[str, int, int], None]) -> str:
        found = [part.identity(progress) for part in self._parts]
        return f"sample {found} {self._shares}"

    @property
    def changes(self) -> str:
        return f"sample {[part.changes for part in self._parts]} {self._shares}"

    @cached_property
    def _texts(self) -> list[str]:
        found: list[str] = []
        for part, share in zip(self._parts, self._shares, strict=True):
            sample = FairSample(max(1, round(_SAMPLE_CHARACTERS * share)))
            for document in part.documents(Skipped()) if share else ():
                sample.add(document)
            found += sample.blocks
        return found


def prepare_mixture(
    sources: Sequence[Source],
    weights: Sequence[float],
    *,
    tokenizer: str | None,
    vocab_size: int,
    seq_len: int,
    val_fraction: float,
    builtin_mb: float,
    cache_dir: Path | None,
    progress: Progress | None,
    threads: int | None = None,
) -> list[Corpus]:
    """The tokens of each source, all with one tokenizer; see `prepare`."""
    given: str | Tokenizer | None = tokenizer
    if given is None:
        sample = SampledText([open_text(one, builtin_mb) for one in sources], weights)
        given = trained_tokenizer(
            sample, vocab_size, cache_dir, progress, ", ".join(map(str, sources))
        )
    prepared = partial(
        prepare,
        tokenizer=given,
        vocab_size=vocab_size,
        seq_len=seq_len,
        val_fraction=val_fraction,
        builtin_mb=builtin_mb,
        cache_dir=cache_dir,
        progress=progress,
        threads=threads,
    )
    return [prepared(source) for source in sources]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "a.txt").write_text("one two three\n\n" * 2000, encoding="utf-8")
        made = prepare_mixture(
            [Source(BUILTIN), Source(f"{scratch}/a.txt")], [3, 1], tokenizer=None, vocab_size=512,
            seq_len=64, val_fraction=0.05, builtin_mb=0.1, cache_dir=Path(scratch, "cache"),
            progress=None,
        )  # fmt: skip
        print([corpus.train.tokens for corpus in made])
        assert made[0].tokenizer.fingerprint == made[1].tokenizer.fingerprint
    print("=== 自测通过 ===")
