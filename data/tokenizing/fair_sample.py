"""A sample of a stream of texts that its order cannot bias; a tokenizer is trained on it.

Sorted and alternating sources, and texts of any length, are represented by their share: the
stream is cut into blocks, and each block is kept with the same probability.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

_BLOCK = 65536
_SEED = "sample"


class FairSample:
    """Holds at most `characters`, and after a longer stream at least about a half of them.

    Everything is kept until there is more; then half of the blocks are dropped at random, and
    of those that follow half as many are kept as before.
    """

    def __init__(self, characters: int) -> None:
        self.blocks: list[str] = []
        """The sample, in the order of the stream."""
        self._most = characters
        self._held = 0
        self._share = 1.0
        self._random = Random(_SEED)

    def add(self, text: str) -> None:
        for start in range(0, len(text), _BLOCK):
            if self._share < 1 and self._random.random() >= self._share:
                continue
            self.blocks.append(text[start : start + _BLOCK])
            self._held += len(self.blocks[-1])
            while self._held > self._most and len(self.blocks) > 1:
                self._halve()

    def _halve(self) -> None:
        kept = [block for block in self.blocks if self._random.random() < 0.5]
        self.blocks = kept or self.blocks[:1]
        self._held = sum(map(len, self.blocks))
        self._share /= 2


def fair_sample(texts: Iterable[str], characters: int) -> Iterator[str]:
    """The sample of a whole stream."""
    sample = FairSample(characters)
    for text in texts:
        sample.add(text)
    yield from sample.blocks


if __name__ == "__main__":
    stream = ["left" * 9, "right" * 9] * 4000
    found = [*fair_sample(stream, 20_000)]
    lefts = sum(block.startswith("left") for block in found)
    print(len(found), "of", len(stream), "blocks,", lefts, "left")
    assert 0.4 < lefts / len(found) < 0.6 and [*fair_sample(["one"], 9)] == ["one"]
    print("=== 自测通过 ===")
