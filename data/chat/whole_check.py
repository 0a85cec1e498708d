"""Compares what a chat template writes with the conversations that it was given.

A template may leave out a thought, a call or a whole turn, and a token may reach from the prompt
into an answer. The sentences say of the first conversations what is not learnt because of it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import NamedTuple

from lmm_tui.data.chat.spans import ChatTemplate, Span, begin_inside
from lmm_tui.data.chat.template import CHATML
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn
from lmm_tui.message import Message

_FIRST = 100
_WORD = re.compile(r"\w+")
_EXAMPLE = 40


def differences(
    talks: Iterable[Sequence[Turn]], tokenizer: Tokenizer, template: ChatTemplate
) -> list[str]:
    """Sentences about the first conversations; none where each is written as a whole."""
    total: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    examples: dict[str, str] = {}
    answers = inside = endless = 0
    for turns in islice(talks, _FIRST):
        spans = template.spans(turns)
        inside += begin_inside(spans, tokenizer)
        learnt = [*_answers(spans)]
        answers += len(learnt)
        endless += sum(not said[-1].control for said in learnt)
        for piece, found in _found(turns, spans):
            total[piece.kind] += 1
            missing[piece.kind] += not found
            if not found:
                examples.setdefault(piece.kind, piece.text.strip())
    notes = [_note(kind, missing[kind], total[kind], said) for kind, said in examples.items()]
    if endless:
        notes.append(_endless_note(endless, answers))
    return [*notes, _inside_note(inside, answers)] if inside else notes


def _answers(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Learnt spans that follow each other, without white space."""
    for learnt, said in groupby(filter(_is_written, spans), lambda span: span.learnt):
        if learnt:
            yield list(said)


def _is_written(span: Span) -> bool:
    return bool(span.text.strip())


def _note(kind: str, missing: int, total: int, said: str) -> str:
    example = json.dumps(said[:_EXAMPLE], ensure_ascii=False)
    if kind == "answer":
        return Message(
            "{missing} of the first {total} answers are not learnt: the chat "
            "template does not write them; the first: {example}",
            missing=missing,
            total=total,
            example=example,
        )
    if kind == "thought":
        return Message(
            "{missing} of the first {total} thoughts are not learnt: the chat "
            "template does not write them; the first: {example}",
            missing=missing,
            total=total,
            example=example,
        )
    if kind == "call":
        return Message(
            "{missing} of the first {total} tool calls are not learnt: the chat "
            "template does not write them; the first: {example}",
            missing=missing,
            total=total,
            example=example,
        )
    if kind == "tool":
        return Message(
            "{missing} of the first {total} tools are not shown: the chat "
            "template does not write them; the first: {example}",
            missing=missing,
            total=total,
            example=example,
        )
    return Message(
        "{missing} of the first {total} turns in front of answers are not shown: "
        "the chat template does not write them; the first: {example}",
        missing=missing,
        total=total,
        example=example,
    )


def _endless_note(count: int, total: int) -> str:
    return Message(
        "{count} of the first {total} answers end without a token that is "
        "learnt, so the model does not learn where to stop; the chat template "
        "writes none, or does not mark it",
        count=count,
        total=total,
    )


def _inside_note(count: int, total: int) -> str:
    return Message(
        "{count} of the first {total} answers begin within a token that starts "
        "in the prompt; generation never begins there: take white space off the "
        "start of answers",
        count=count,
        total=total,
    )


class _Piece(NamedTuple):
    kind: str
    text: str
    learnt: bool


def _found(turns: Sequence[Turn], spans: Sequence[Span]) -> Iterator[tuple[_Piece, bool]]:
    """Each piece of the turns, and whether it stands in its order in what was written."""
    whole = "".join(span.text for span in spans)
    learnt = "".join(span.text for span in spans if span.learnt)
    done = {True: 0, False: 0}
    for turn in turns:
        reached = dict(done)
        for piece in _pieces(turn):
            # Templates trim and escape texts: the longest word shows that one is there.
            word = max(_WORD.findall(piece.text), key=len, default=piece.text.strip())
            first = 0 if piece.kind == "tool" else done[piece.learnt]
            at = (learnt if piece.learnt else whole).find(word, first)
            if at >= 0 and piece.kind != "tool":
                reached[piece.learnt] = max(reached[piece.learnt], at + len(word))
            yield piece, at >= 0
        done = reached


def _pieces(turn: Turn) -> Iterator[_Piece]:
    for tool in turn.extra.get("tools", ()):
        yield from _named("tool", tool, learnt=False)
    if turn.role != "assistant" or not turn.learnt:
        if turn.content.strip():
            yield _Piece("turn", turn.content, learnt=False)
        return
    thought, _, content = turn.content.rpartition("</think>")
    thought = str(turn.extra.get("reasoning_content") or "") or thought.replace("<think>", "")
    if thought.strip():
        yield _Piece("thought", thought, learnt=True)
    if content.strip():
        yield _Piece("answer", content, learnt=True)
    for call in turn.extra.get("tool_calls", ()):
        yield from _named("call", call, learnt=True)


def _named(kind: str, described: object, learnt: bool) -> Iterator[_Piece]:
    """The name of a tool, or of one that is called, if it has one."""
    described = described.get("function", described) if isinstance(described, dict) else described
    name = described.get("name") if isinstance(described, dict) else None
    if isinstance(name, str) and name:
        yield _Piece(kind, name, learnt)


if __name__ == "__main__":
    words = Tokenizer.train(["user assistant one two "] * 9, 300)
    talk = (Turn("user", "one"), Turn("assistant", "two", {"reasoning_content": "A number."}))
    assert differences([talk], words, CHATML) == []
    print([piece for piece, _ in _found(talk, [])])
    print(_note("thought", 1, 2, "A number."))
    print("=== 自测通过 ===")
