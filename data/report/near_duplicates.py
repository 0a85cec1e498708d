"""Near duplicates by MinHash (Broder 1997) and banding: texts that share most word 5-grams.

A signature has the least of 64 hashes over a text's 5-grams; the share of equal places of two
signatures estimates their Jaccard similarity. Texts meet in one of 16 bands of 4 places, so that of
pairs with similarity 0.8 all but 1 in 4,000 are compared.
"""

from __future__ import annotations

import re
import zlib

import numpy as np
from numpy.typing import NDArray

SIMILAR = 0.8
"""Estimated similarity from which texts are near duplicates."""
_PLACES, _BANDS, _GRAM = 64, 16, 5
_PRIME = np.uint64((1 << 61) - 1)
_TERMS = re.compile(r"[㐀-鿿぀-ヿ가-힣]|[^\W_㐀-鿿぀-ヿ가-힣]+")
_LONGEST = 20_000
"""Characters of a text that are looked at."""


def words(text: str) -> list[str]:
    """Lower-case words; a sign of Chinese, Japanese or Korean is one."""
    return [word.lower() for word in _TERMS.findall(text)]


def grams(found: list[str], size: int) -> list[bytes]:
    """The word n-grams; of a shorter text it as a whole."""
    last = max(len(found) - size + 1, 1)
    return [" ".join(found[at : at + size]).encode() for at in range(last)] if found else []


class NearDuplicates:
    """Counts texts that are near duplicates of one before."""

    def __init__(self) -> None:
        drawn = np.random.default_rng(20240607)
        self._a = drawn.integers(1, 1 << 31, _PLACES, np.uint64)
        self._b = drawn.integers(0, 1 << 31, _PLACES, np.uint64)
        self._signatures: list[NDArray[np.uint32]] = []
        self._seen: dict[tuple[int, bytes], int] = {}
        self.count = 0

    def add(self, text: str) -> int | None:
        """The number of a text before (from 0) of which this is a near duplicate, or None."""
        signature = self._signature(text[:_LONGEST])
        if signature is None:
            return None
        number = len(self._signatures)
        self._signatures.append(signature)
        keys = [(at, part.tobytes()) for at, part in enumerate(signature.reshape(_BANDS, -1))]
        found = None
        for other in {self._seen[key] for key in keys if key in self._seen}:
            if (self._signatures[other] == signature).mean() >= SIMILAR:
                found = other
                break
        for key in keys:
            self._seen.setdefault(key, number)
        self.count += found is not None
        return found

    def _signature(self, text: str) -> NDArray[np.uint32] | None:
        hashes = {zlib.crc32(gram) for gram in grams(words(text), _GRAM)}
        if not hashes:
            return None
        values = np.fromiter(hashes, np.uint64, len(hashes))
        spread = (values[:, None] * self._a + self._b) % _PRIME
        least: NDArray[np.uint32] = (spread & np.uint64(0xFFFFFFFF)).min(0).astype(np.uint32)
        return least


if __name__ == "__main__":
    base = [f"word{n}" for n in range(200)]
    demo = NearDuplicates()
    assert demo.add(" ".join(base)) is None
    print(demo.add(" ".join([*base[:100], "changed", *base[101:]])), demo.add("quite another text"))
    assert demo.count == 1
    print("=== 自测通过 ===")
