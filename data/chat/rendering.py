"""What is written of a row, in tokens: the answers of a conversation or a pair, or a prompt.

A row gives the same number of texts each time, so that what a killed process has written can be
counted. It knows no files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from lmm_tui.data.chat.spans import ChatTemplate, Rendered, encode_spans
from lmm_tui.data.chat.template import CHATML, render_all
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Conversation, Prompt, Turn, last_question

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Rendering(Protocol[T_contra]):
    """How rows become texts of tokens."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def identity(self) -> str:
        """Equal where the same rows become the same tokens, with one tokenizer."""

    def count(self, row: T_contra) -> int:
        """The texts of a row."""

    def render(self, rows: Sequence[T_contra]) -> list[Rendered]:
        """Those of all rows, in order."""


@dataclass(frozen=True)
class TalkRendering(Generic[T]):
    """A text for each conversation of a row."""

    conversations: Callable[[T], Iterable[Conversation]]
    tokenizer: Tokenizer
    template: ChatTemplate = CHATML
    read: Callable[[Rendered], Rendered] | None = None
    """What a loss reads of an answer; None: as it is written."""

    @property
    def identity(self) -> str:
        return f"{self.template.identity} {self.read.__name__ if self.read else 'answers'}"

    def count(self, row: T) -> int:
        return sum(1 for _ in self.conversations(row))

    def render(self, rows: Sequence[T]) -> list[Rendered]:
        talks = (talk for row in rows for talk in self.conversations(row))
        found = render_all(talks, self.tokenizer, self.template)
        return [*found] if self.read is None else [*map(self.read, found)]


@dataclass(frozen=True)
class PromptRendering:
    """Two texts for each prompt: its tokens, and as bytes what an answer to it is judged by.

    The second is JSON, `[question, answer]`, and counts as learnt where there is an answer.
    """

    tokenizer: Tokenizer
    template: ChatTemplate = CHATML

    @property
    def identity(self) -> str:
        return f"{self.template.identity} prompts"

    def count(self, row: Prompt) -> int:
        return 2

    def render(self, rows: Sequence[Prompt]) -> list[Rendered]:
        spans = [self.template.prompt_spans(row.turns) for row in rows]
        found: list[Rendered] = []
        for row, told in zip(rows, encode_spans(spans, self.tokenizer), strict=True):
            judged = json.dumps([last_question(row.turns), row.answer]).encode()
            found += [told, ([*judged], [row.answer is not None] * len(judged))]
        return found


if __name__ == "__main__":
    demo = PromptRendering(Tokenizer.train(["user assistant 1 + 1? "] * 9, 300))
    asked = Prompt((Turn("system", "Add."), Turn("user", "1 + 1?")), "2")
    (ids, _), (judged, known) = demo.render([asked])
    print(demo.tokenizer.decode(ids))
    assert json.loads(bytes(judged)) == ["1 + 1?", "2"] and all(known)
    print("=== 自测通过 ===")
