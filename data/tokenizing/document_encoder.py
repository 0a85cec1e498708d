"""Token ids of many documents at once, on all cores, while the GIL is free.

The work is done by `fastokens`, about ten times as fast as `tokenizers`, for byte-level BPE: there
its ids are the same for every text. They are compared with those of `tokenizers` as it goes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm_tui.data.tokenizing.cpus import usable_cpus
from lmm_tui.data.tokenizing.tokenizer import Tokenizer

_COMPARED = 16384
"""Characters of each batch that both tokenise."""

_Ids = tuple[NDArray[np.uint32], NDArray[np.int64]]

# Its own threads share the work unevenly; those that call it are counted here. Read once.
os.environ.setdefault("FASTOKENS_BPE_THREADS", "1")

_threads_lost = False


def _after_fork() -> None:
    global _threads_lost  # noqa: PLW0603
    _threads_lost = "fastokens" in sys.modules


# A child has none of the threads that fastokens made before the fork and would wait for.
os.register_at_fork(after_in_child=_after_fork)


class EncoderMismatch(Exception):
    """The fast ids are not those of `tokenizers`: nothing encoded so far can be trusted."""


class DocumentEncoder:
    def __init__(self, tokenizer: Tokenizer, fast: bool = True, threads: int | None = None) -> None:
        """With `fast` unset, `tokenizers` does the work, in the threads that it makes itself.

        `threads` is at most how many work at once; None is all CPUs that the process may use.
        """
        self._tokenizer = tokenizer
        self._threads = min(threads or usable_cpus(), usable_cpus())
        self._fast = _load(tokenizer) if fast and not _threads_lost else None
        self._batches = 0

    @property
    def is_fast(self) -> bool:
        return self._fast is not None

    def encode(self, texts: Sequence[str]) -> _Ids:
        """The ids of all texts in a row, each with its end token, and the tokens of each.

        `texts` are not empty and have no lone surrogates. Raises EncoderMismatch.
        """
        ids, lengths = self._fast_ids(texts) or self._slow_ids(texts)
        return np.insert(ids, np.cumsum(lengths), self._tokenizer.eos_id), lengths + 1

    def _fast_ids(self, texts: Sequence[str]) -> _Ids | None:
        """None where `fastokens` cannot; it compares a part of one text first."""
        text = texts[self._batches % len(texts)][:_COMPARED]
        self._batches += 1
        try:
            found, ids = self._flat([text]), self._flat(texts)
        except Exception:  # A limit of its pattern matching; the bindings name no class.
            return None
        if found and found[0].tolist() != self._tokenizer.encode_batch([text])[0]:
            raise EncoderMismatch
        return ids

    def _flat(self, texts: Sequence[str]) -> _Ids | None:
        """By `fastokens`, an equal share of the texts in each thread; it does without the GIL."""
        if self._fast is None:
            return None
        step = -(-len(texts) // self._threads)
        shares = [list(texts[start : start + step]) for start in range(0, len(texts), step)]
        if len(shares) == 1:
            found = [self._fast.encode_batch_flat(shares[0])]
        else:
            with ThreadPoolExecutor(len(shares)) as pool:
                found = list(pool.map(self._fast.encode_batch_flat, shares))
        ids = [np.frombuffer(raw, "<u4") for raw, _ in found]
        lengths = [np.diff(np.frombuffer(bounds, "<u8").astype(np.int64)) for _, bounds in found]
        return np.concatenate(ids).astype(np.uint32), np.concatenate(lengths).astype(np.int64)

    def _slow_ids(self, texts: Sequence[str]) -> _Ids:
        found = self._tokenizer.encode_batch(texts)
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        return np.fromiter(chain.from_iterable(found), np.uint32, int(lengths.sum())), lengths


def _load(tokenizer: Tokenizer) -> Any:
    """The tokenizer in `fastokens`; None where that is not installed or may give other ids."""
    if not tokenizer.is_whole_byte_level:
        return None
    try:
        from fastokens import Tokenizer as Native

        return Native.from_json_str(tokenizer.serialised)
    except Exception:  # The bindings raise nothing more specific.
        return None


if __name__ == "__main__":
    trained = Tokenizer.train(["the rabbit and the river 12 + 7 = 19 "] * 9, vocab_size=280)
    both = [DocumentEncoder(trained, fast).encode(["a river", "兔 19"]) for fast in (True, False)]
    print(both[0], DocumentEncoder(trained).is_fast)
    assert all((one == other).all() for one, other in zip(*both, strict=True))
    print("=== 自测通过 ===")
