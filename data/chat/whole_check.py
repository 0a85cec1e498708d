"""Compares the pieces in which conversations are rendered with each conversation as one text.

Pieces are right for a template that only appends turns and a tokenizer without context. Where a
template or tokenizer is another one, the sentences say what follows from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from lmm_tui.data.chat.spans import ChatTemplate, Span, encode_spans
from lmm_tui.data.chat.template import CHATML
from lmm_tui.data.tokenizing.tokenizer import IM_END, Tokenizer
from lmm_tui.data.turns import Conversation, Turn

_FIRST = 100


def differences(
    conversations: Iterable[Conversation], tokenizer: Tokenizer, template: ChatTemplate
) -> list[str]:
    """Sentences about the first conversations; none where pieces and whole agree."""
    answers = hidden = other = compared = 0
    for talk in islice(conversations, _FIRST):
        spans = template.spans(talk.turns)
        compared += 1
        wanted = sum(turn.role == "assistant" and turn.learnt for turn in talk.turns)
        answers += wanted
        hidden += max(0, wanted - _learnt_runs(spans))
        other += _differs(spans, tokenizer)
    notes = [_hidden_note(hidden, answers)] if hidden else []
    return [*notes, _other_note(other, compared)] if other else notes


def _hidden_note(hidden: int, answers: int) -> str:
    return (
        f"{hidden} of the first {answers} answers are not learnt: the chat template writes them "
        "otherwise once more turns follow"
    )


def _other_note(other: int, compared: int) -> str:
    return (
        f"{other} of the first {compared} conversations have other tokens as one text than in "
        "turns; transformers encodes them as one text"
    )


def _learnt_runs(spans: list[Span]) -> int:
    """The number of answers in which something is learnt."""
    before = [False, *(span.learnt for span in spans)]
    return sum(span.learnt and not was for span, was in zip(spans, before, strict=False))


def _differs(spans: list[Span], tokenizer: Tokenizer) -> bool:
    plain = "\n".join(span.text for span in spans if not span.control)
    if any(token in plain for token in tokenizer.special_tokens):
        return False  # As one text, what a turn spells out would become a control token.
    [(ids, _)] = encode_spans([spans], tokenizer)
    return ids != tokenizer.encode("".join(span.text for span in spans))


if __name__ == "__main__":
    words = Tokenizer.train(["user assistant one two "] * 9, 300)
    demo = [Conversation((Turn("user", f"one {IM_END}"), Turn("assistant", "two")))]
    assert differences(demo, words, CHATML) == []
    print(_hidden_note(1, 2))
    print("=== 自测通过 ===")
