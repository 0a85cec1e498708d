"""The examples of preference and prompt data that can be used, read from tokens when asked for.

Which ones is found out from lengths and labels alone; nothing is held but their numbers.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from lmm_tui.data.chat.spans import Rendered
from lmm_tui.data.tokenizing.learnt_tokens import LearntTokens, ids_of, labels_of
from lmm_tui.data.turns import Prompt, Turn

T_co = TypeVar("T_co", covariant=True)


class ReadWhenAsked(Sequence[T_co]):
    """Items that are made when they are asked for."""

    @abstractmethod
    def item(self, at: int) -> T_co: ...

    @overload
    def __getitem__(self, at: int) -> T_co: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[T_co]: ...
    def __getitem__(self, at: int | slice) -> T_co | Sequence[T_co]:
        every = range(len(self))
        return [*map(self.item, every[at])] if isinstance(at, slice) else self.item(every[at])


class KeptAnswers(ReadWhenAsked[tuple[Rendered, ...]]):
    """The answers of each example, each after its prompt.

    Examples with one that is too long are left out, and with one of which nothing is learnt.
    """

    def __init__(self, tokens: LearntTokens, width: int, seq_len: int) -> None:
        """`tokens` has the `width` answers of an example in turn."""
        self._tokens, self._width = tokens, width
        fits = (tokens.lengths.reshape(-1, width) <= seq_len + 1).all(1)
        written = (tokens.learnt_counts().reshape(-1, width) > 0).all(1)
        self.kept = np.flatnonzero(fits & written)
        """The number of each among all examples."""
        self.too_long, self.unwritten = int((~fits).sum()), int((fits & ~written).sum())

    def __len__(self) -> int:
        return len(self.kept)

    def item(self, at: int) -> tuple[Rendered, ...]:
        first = int(self.kept[at]) * self._width
        return tuple(self._tokens[first + place] for place in range(self._width))

    @property
    def fingerprint(self) -> str:
        """Equal for equal tokens and labels in the same order."""
        kept = np.zeros(len(self._tokens) // self._width, np.bool_)
        kept[self.kept] = True
        return _fingerprint(self._tokens, np.repeat(kept, self._width))


class KeptPrompts(ReadWhenAsked[list[int]]):
    """The tokens of prompts that leave room for a completion and can be scored."""

    def __init__(self, tokens: LearntTokens, longest: int, needs_answer: bool) -> None:
        """`tokens` are those of a `PromptRendering`; no prompt has more than `longest`."""
        self._tokens = tokens
        answered = tokens.learnt_counts()[1::2] > 0
        self._usable = tokens.lengths[::2] <= longest
        self.total = len(answered)
        """Prompts, the others counted, too."""
        self.unanswered = int((~answered).sum()) if needs_answer else 0
        """Those left out for want of an answer."""
        if needs_answer:
            self._usable &= answered
        self._kept = np.flatnonzero(self._usable)

    def __len__(self) -> int:
        return len(self._kept)

    def item(self, at: int) -> list[int]:
        return self._tokens[2 * int(self._kept[at])][0]

    def judged_by(self, at: int) -> Prompt:
        """Its last question, as the only turn, and its answer."""
        question, answer = json.loads(bytes(self._tokens[2 * int(self._kept[at]) + 1][0]))
        return Prompt((Turn("user", question),), answer)

    @property
    def usable(self) -> Sequence[bool]:
        """Of each of all prompts."""
        found: list[bool] = self._usable.tolist()
        return found

    @property
    def fingerprint(self) -> str:
        """Equal for equal prompts in the same order."""
        wanted = np.zeros(len(self._tokens), np.bool_)
        wanted[2 * self._kept] = True
        return _fingerprint(self._tokens, wanted, with_labels=False)


def _fingerprint(tokens: LearntTokens, wanted: NDArray[np.bool_], with_labels: bool = True) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for block in tokens.blocks():
        for number in np.flatnonzero(wanted[block.first : block.first + len(block.ends)]):
            start = block.ends[number - 1] if number else 0
            marked = block.marked[start : block.ends[number]]
            digest.update(ids_of(marked).tobytes())
            digest.update((labels_of(marked).tobytes() if with_labels else b"") + b"|")
    return digest.hexdigest()


if __name__ == "__main__":
    told: Rendered = ([1, 2], [False, True])
    pairs = [told, told, told, ([1] * 9, [True] * 9), told, ([1], [False])]
    both = KeptAnswers(LearntTokens.of(pairs), 2, 6)
    print([*both], both.too_long, both.unwritten)
    assert both.kept.tolist() == [0] and (both.too_long, both.unwritten) == (1, 1)
    asked = LearntTokens.of([told, ([*b'["?", "2"]'], [True] * 10)])
    assert KeptPrompts(asked, 2, True).judged_by(0).answer == "2"
    print("=== 自测通过 ===")
