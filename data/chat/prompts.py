"""Prompts for reinforcement learning, with the right answer where a row has one: the built-in
ones, or rows of files.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmm_tui.data.builtin import tasks
from lmm_tui.data.builtin.holdout import Split, split
from lmm_tui.data.builtin.task import KINDS
from lmm_tui.data.builtin.version import builtin_identity
from lmm_tui.data.chat.conversations import asked_turns
from lmm_tui.data.text.corpus import BUILTIN
from lmm_tui.data.text.dataset import Dataset, from_files
from lmm_tui.data.text.row_fields import PROMPT_FIELDS, refuse_unsupported, shape_of
from lmm_tui.data.text.source import Source
from lmm_tui.data.turns import Prompt, question
from lmm_tui.message import Message

Prompts = Dataset[Prompt]

EXPECTED = Message(
    'expected {"prompt", optionally "answer"}, {"conversations": […]} or {"messages": […]}'
)


def read_prompts(
    source: str | Source,
    *,
    side: Split = "train",
    val_fraction: float = 0.05,
    kinds: Sequence[str] = KINDS,
) -> Prompts:
    """One side of `builtin`, or of files of rows, a folder or a glob of them.

    Of files, `val_fraction` is for validation, by a hash of the question, as in
    `data.chat.conversations`. `kinds` are those of the built-in questions.
    """
    if Source.parse(source).path == BUILTIN:
        return Dataset(
            lambda _: tasks.prompts(side, kinds=kinds),
            kind=f"prompts {side}",
            identity=lambda _: builtin_identity(side, kinds),
        )
    return from_files(
        source,
        parse_prompt,
        lambda prompt: split(question(prompt.turns), val_fraction) == side,
        kind=f"prompts {side}, {val_fraction} for validation",
        fields=PROMPT_FIELDS,
        role="prompt",
        either=("prompt", "messages", "conversations", "instruction"),
        exact_numbers=True,
    )


def parse_prompt(row: dict[str, Any]) -> Prompt:
    """What a row holds; ValueError says what was expected where it is no prompt.

    Of a conversation that ends with the assistant, that turn is taken off (MiniMind's RL files
    have an empty one there) and is the answer if it says anything.
    """
    answer = row.get("answer")
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        answer = str(answer)
    if not isinstance(answer, str | None):
        raise ValueError(Message('"answer" is neither text nor a number; expected one of them'))
    refuse_unsupported(row)
    turns = asked_turns(row)
    if not turns:
        raise ValueError(
            Message("{expected}; {shape_of}", expected=EXPECTED, shape_of=shape_of(row))
        )
    if turns[-1].role == "assistant":
        answer = turns[-1].content.strip() or None if answer is None else answer
        turns = turns[:-1]
    if not turns or turns[-1].role not in {"user", "tool"}:
        raise ValueError(
            Message("nothing to answer; expected a user's turn before the assistant's")
        )
    if not turns[-1].content.strip():
        raise ValueError(Message("the prompt is empty; expected something to answer"))
    return Prompt(turns, answer)


if __name__ == "__main__":
    rows = (
        {"prompt": "1 + 1?", "answer": 2},
        {
            "conversations": [
                {"role": "user", "content": "你好"},
                {"role": "assistant", "content": ""},
            ]
        },
    )
    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "demo.json")
        demo.write_text(json.dumps(rows), encoding="utf-8")
        found = list(read_prompts(str(demo), val_fraction=0))
    print(found)
    assert [prompt.answer for prompt in found] == ["2", None]
    print("=== 自测通过 ===")
