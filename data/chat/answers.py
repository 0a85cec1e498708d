"""Answers of preference data as the conversations that are scored, and which cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lmm_tui.data.chat.spans import Rendered
from lmm_tui.data.turns import Conversation, Pair, Turn


def answered(prompt: Sequence[Turn], answer: Sequence[Turn]) -> Conversation:
    """Earlier answers in the prompt are neither good nor bad: they are not learnt."""
    return Conversation((*(replace(turn, learnt=False) for turn in prompt), *answer))


def pair_conversations(pair: Pair) -> Iterator[Conversation]:
    """Of the chosen and of the rejected answer."""
    return (answered(pair.prompt, answer) for answer in (pair.chosen, pair.rejected))


def pair_texts(pair: Pair) -> Iterator[str]:
    """The prompt once, then both answers."""
    return (turn.content for turn in pair.prompt + pair.chosen + pair.rejected)


def scored(answer: Rendered) -> Rendered:
    """For a reward model: one label, at the last token of the answer, where the reward is read."""
    ids, counted = answer
    return [*ids, ids[-1]], [*([False] * len(ids)), any(counted)]


if __name__ == "__main__":
    asked, right, wrong = Turn("user", "1 + 1?"), Turn("assistant", "2"), Turn("assistant", "3")
    for demo in pair_conversations(Pair((asked,), (right,), (wrong,))):
        print([(turn.content, turn.learnt) for turn in demo.turns])
    told: Rendered = ([1, 2], [False, True])
    assert scored(told) == ([1, 2, 2], [False, False, True])
    print("=== 自测通过 ===")
