"""A conversation written out as pieces of text: which are control tokens, and which are learnt.

The common ground of the templates. A piece that isn't a control token never becomes one, whatever
it spells. It knows no template.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from tokenizers import Encoding

from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.marked_tokens import CONTROL_MARK
from lmm_tui.data.tokenizing.tokenizer import IM_END, IM_START, Tokenizer
from lmm_tui.data.turns import Turn


class Span(NamedTuple):
    text: str
    learnt: bool = False
    """Whether the loss counts these tokens."""
    control: bool = False
    """Whether the text is the spelling of one special token."""
    apart: bool = False
    """Whether a token may not reach into it from the text before, where the tokenizer can do so."""


class ChatTemplate(Protocol):
    """How turns are written out."""

    @property
    def identity(self) -> str:
        """Equal where the same turns are written the same."""

    @property
    def turn_ends(self) -> tuple[str, ...]:
        """The tokens that end an answer, that of a plain text first."""

    def spans(self, turns: Sequence[Turn]) -> list[Span]:
        """The whole conversation."""

    def spans_of_all(self, conversations: Sequence[Sequence[Turn]]) -> list[list[Span]]:
        """`spans` of each."""

    def prompt_spans(self, turns: Sequence[Turn]) -> list[Span]:
        """The turns and the opening of the assistant's answer, nothing of it learnt."""


Rendered = tuple[list[int], list[bool]]
"""Ids, and for each whether it is learnt."""


def encode_spans(conversations: Sequence[Iterable[Span]], tokenizer: Tokenizer) -> list[Rendered]:
    """Ids of each conversation, encoded as one text, and what is learnt; all in one call.

    A token is learnt if it reaches into learnt text. Raises DataError where the tokenizer lacks a
    control token.
    """
    parts = [_parts(said, tokenizer) for said in conversations]
    encoded = iter(tokenizer.encode_marked([part.text for said in parts for part in said]))
    rendered: list[Rendered] = []
    for said in parts:
        ids: list[int] = []
        learnt: list[bool] = []
        for part in said:
            found = next(encoded)
            ids += found.ids
            learnt += _mask(found, part.learnt)
        rendered.append((ids, learnt))
    return rendered


def begin_inside(spans: Iterable[Span], tokenizer: Tokenizer) -> int:
    """The number of learnt texts whose first token starts in the text before."""
    parts = _parts(spans, tokenizer)
    found = 0
    for part, encoding in zip(parts, tokenizer.encode_marked([p.text for p in parts]), strict=True):
        for start, _ in part.learnt:
            token = encoding.char_to_token(start)
            place = None if token is None else encoding.token_to_chars(token)
            found += place is not None and place[0] < start
    return found


class _MarkedText(NamedTuple):
    text: str
    learnt: list[tuple[int, int]]


def _parts(spans: Iterable[Span], tokenizer: Tokenizer) -> list[_MarkedText]:
    """The text of a conversation with its control tokens marked, and the ranges to learn.

    More than one text where a span is to be encoded apart.
    """
    parts = [_MarkedText("", [])]
    for text, learnt, control, apart in spans:
        if control:
            control_id(text, tokenizer)
        if apart and tokenizer.can_be_cut:
            parts.append(_MarkedText("", []))
        before, ranges = parts[-1]
        written = CONTROL_MARK + text if control else text.replace(CONTROL_MARK, "\ufffd")
        if learnt and written:
            ranges.append((len(before), len(before) + len(written)))
        parts[-1] = _MarkedText(before + written, ranges)
    return [part for part in parts if part.text]


def _mask(encoding: Encoding, ranges: Sequence[tuple[int, int]]) -> list[bool]:
    """For each token whether it reaches into one of the ranges, which are in order."""
    learnt = [False] * len(encoding)
    for start, stop in ranges:
        tokens = (encoding.char_to_token(place) for place in range(start, stop))
        first = next((token for token in tokens if token is not None), None)
        if first is None:
            continue
        after = first
        while after < len(learnt):
            if (place := encoding.token_to_chars(after)) and place[0] >= stop:
                break
            learnt[after] = True
            after += 1
    return learnt


def control_id(token: str, tokenizer: Tokenizer) -> int:
    """The id of a control token; DataError where the tokenizer lacks it."""
    found = tokenizer.id_of(token)
    if found is None:
        raise DataError(
            "data.tokenizer: has no token {token}, which the chat template "
            "needs; choose the tokenizer's own template, or a tokenizer with "
            "that token",
            token=token,
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
