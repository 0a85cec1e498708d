"""Near duplicates by MinHash (Broder 1997) and banding: texts that share most word 5-grams.

A signature has the least of 64 hashes over a text's 5-grams; the share of equal places of two
signatures estimates their Jaccard similarity. Texts meet in one of 16 bands of 4 places, so that of
pairs with similarity 0.8 all but 1 in 4,000 are compared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lmm_tui.data.report.word_grams import Hashes, gram_hashes, words

SIMILAR = 0.8
"""Estimated similarity from which texts are near duplicates."""
GRAM = 5
LONGEST = 20_000
"""Characters of a text that are looked at."""
_PLACES, _BANDS = 64, 16
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_PRIME = np.uint64((1 << 61) - 1)


class NearDuplicates:
    """Counts texts that are near duplicates of one before."""

    def __init__(self) -> None:
        drawn = np.random.default_rng(20240607)
        self._a = drawn.integers(1, 1 << 31, _PLACES, np.uint64)
        self._b = drawn.integers(0, 1 << 31, _PLACES, np.uint64)
        self._signatures: list[NDArray[np.uint32]] = []
        self._seen: dict[int, int] = {}
        self.count = 0

    def add(self, text: str) -> int | None:
        """The number of a text before (from 0) of which this is a near duplicate, or None."""
        return self.add_runs(gram_hashes(words(text[:LONGEST]), GRAM))

    def add_runs(self, runs: list[Hashes]) -> int | None:
        """The same for the runs of words of at most `LONGEST` characters of a text."""
        signature = self._signature(runs[: GRAM + 1])
        if signature is None:
            return None
        number = len(self._signatures)
        self._signatures.append(signature)
        keys = self._keys(signature)
        found = None
        for other in {self._seen[key] for key in keys if key in self._seen}:
            if (self._signatures[other] == signature).mean() >= SIMILAR:
                found = other
                break
        for key in keys:
            self._seen.setdefault(key, number)
        self.count += found is not None
        return found

    def _signature(self, runs: list[Hashes]) -> NDArray[np.uint32] | None:
        if not len(runs[-1]):
            return None
        values = np.unique(runs[-1] >> np.uint64(32))
        spread = (values[:, None] * self._a + self._b) % _PRIME
        least: NDArray[np.uint32] = (spread & np.uint64(0xFFFFFFFF)).min(0).astype(np.uint32)
        return least

    def _keys(self, signature: NDArray[np.uint32]) -> list[int]:
        """A number for each band with what it holds."""
        bands = signature.reshape(_BANDS, -1).astype(np.uint64)
        found = np.arange(_BANDS, dtype=np.uint64)
        for part in bands.T:
            found = found * _SPREAD + part
            found ^= found >> np.uint64(29)
        return list(map(int, found))


if __name__ == "__main__":
    base = [f"word{n}" for n in range(200)]
    demo = NearDuplicates()
    assert demo.add(" ".join(base)) is None
    print(demo.add(" ".join([*base[:100], "changed", *base[101:]])), demo.add("quite another text"))
    assert demo.count == 1
    print("=== 自测通过 ===")
