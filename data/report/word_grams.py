"""Hashes of the words of a text, and of the runs of n words in it."""

from __future__ import annotations

import re
import zlib

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_TERMS = re.compile(r"[㐀-鿿぀-ヿ가-힣]|[^\W_㐀-鿿぀-ヿ가-힣]+")
_FACTOR, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_SHIFT = np.uint64(32)


def words(text: str) -> list[str]:
    """Lower-case words; a sign of Chinese, Japanese or Korean is one."""
    return _TERMS.findall(text.lower())


def gram_hashes(found: list[str], longest: int) -> list[Hashes]:
    """At place n the hashes of all runs of n words, up to `longest` or to the text as a whole."""
    codes = [zlib.crc32(word.encode("utf-8", "replace")) for word in found]
    single = _mixed(np.array(codes, np.uint64) + np.uint64(1))
    runs = [single[:0], single]
    for size in range(2, min(longest, len(found)) + 1):
        runs.append(_mixed(runs[-1][:-1] * _FACTOR + single[size - 1 :]))
    return runs


def _mixed(values: Hashes) -> Hashes:
    """All bits of a number in each bit of another: the steps of SplitMix64 (Steele et al. 2014)."""
    values = (values ^ (values >> _SHIFT)) * _MIX
    return values ^ (values >> _SHIFT)


if __name__ == "__main__":
    demo = gram_hashes(words("One two 三 one TWO 三"), 4)
    print([len(one) for one in demo])
    assert demo[3][0] == demo[3][3] and len(set(demo[2].tolist())) == 3
    print("=== 自测通过 ===")
