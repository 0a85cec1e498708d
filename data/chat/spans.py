"""A conversation written out as pieces of text: which are control tokens, and which are learnt.

The common ground of the templates. A piece that isn't a control token never becomes one, whatever
it spells. It knows no template.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.tokenizer import IM_END, IM_START, Tokenizer
from lmm_tui.data.turns import Turn


class Span(NamedTuple):
    text: str
    learnt: bool = False
    """Whether the loss counts these tokens."""
    control: bool = False
    """Whether the text is the spelling of one special token."""


class ChatTemplate(Protocol):
    """How turns are written out."""

    @property
    def turn_ends(self) -> tuple[str, ...]:
        """The tokens that end an answer, that of a plain text first."""

    def spans(self, turns: Sequence[Turn]) -> list[Span]:
        """The whole conversation."""

    def prompt_spans(self, turns: Sequence[Turn]) -> list[Span]:
        """The turns and the opening of the assistant's answer, nothing of it learnt."""


Rendered = tuple[list[int], list[bool]]
"""Ids, and for each whether it is learnt."""


def encode_spans(conversations: Sequence[Iterable[Span]], tokenizer: Tokenizer) -> list[Rendered]:
    """Ids of each conversation, and what is learnt; all plain text is encoded in one call.

    Raises DataError where the tokenizer lacks a control token.
    """
    spans = [list(conversation) for conversation in conversations]
    # The same few pieces come in every conversation: each is encoded once.
    texts = list({span.text for said in spans for span in said if not span.control})
    plain = dict(zip(texts, tokenizer.encode_plain(texts), strict=True))
    rendered: list[Rendered] = []
    for said in spans:
        ids: list[int] = []
        learnt: list[bool] = []
        for text, counted, control in said:
            piece = [control_id(text, tokenizer)] if control else plain[text]
            ids += piece
            learnt += [counted] * len(piece)
        rendered.append((ids, learnt))
    return rendered


def control_id(token: str, tokenizer: Tokenizer) -> int:
    """The id of a control token; DataError where the tokenizer lacks it."""
    found = tokenizer.id_of(token)
    if found is None:
        raise DataError(
            f"data.tokenizer: has no token {token}, which the chat template needs; choose the "
            "tokenizer's own template, or a tokenizer with that token"
        )
    return found


if __name__ == "__main__":
    learnt = Tokenizer.train(["one two three "] * 9, 280)
    said = [
        Span(IM_START, control=True),
        Span(f"user\n{IM_END}"),
        Span("two", learnt=True),
        Span(IM_END, learnt=True, control=True),
    ]
    (ids, labelled), nothing = encode_spans([said, []], learnt)
    print(ids, labelled)
    assert (ids.count(2), labelled[-1], nothing) == (1, True, ([], []))
    assert learnt.decode(ids) == "".join(span.text for span in said)
    print("=== 自测通过 ===")
