"""What chat data is made of: turns, and how they stand together in each kind of training.

Plain records. They know neither the files they come from nor the template they go into.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class Turn:
    role: str
    """One of ROLES."""
    content: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What else the turn had: `reasoning_content` (str), `tool_calls` and, of a system turn,
    `tools` (lists of JSON objects), and whatever a tokenizer's own template may look at."""


@dataclass(frozen=True)
class Conversation:
    """One or more turns, of which the assistant says at least one."""

    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Pair:
    """Two ways to go on from the same prompt, the better one and the worse one."""

    prompt: tuple[Turn, ...]
    """One turn or more."""
    chosen: tuple[Turn, ...]
    """Starts with an answer; like `rejected`, from which it differs."""
    rejected: tuple[Turn, ...]


@dataclass(frozen=True)
class Prompt:
    """What a model is to answer, and the answer where it is known."""

    turns: tuple[Turn, ...]
    answer: str | None


def question(turns: tuple[Turn, ...]) -> str:
    """What is asked first: the content up to the first answer. It decides what is held out."""
    asked: list[str] = []
    for turn in turns:
        if turn.role == "assistant":
            break
        asked.append(turn.content)
    return "\n".join(asked)


if __name__ == "__main__":
    talk = (Turn("user", "Who is Pip?"), Turn("assistant", "A rabbit."), Turn("user", "Why?"))
    print(Conversation(talk), question(talk))
    assert question(talk) == "Who is Pip?"
    print("=== 自测通过 ===")
