"""Chat data as plain records: turns, and the conversations, pairs and prompts made of them."""

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
    """Other fields of the turn: `reasoning_content` (str), `tool_calls` and, of a system turn or
    the first one, `tools` (lists of JSON objects), and any that a tokenizer's own template may
    use."""
    learnt: bool = True
    """Whether the loss counts it, where the assistant says it."""


@dataclass(frozen=True)
class Conversation:
    """One or more turns, at least one of them by the assistant; for supervised fine-tuning."""

    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Pair:
    """A preferred and a rejected continuation of one prompt; for preference training."""

    prompt: tuple[Turn, ...]
    """One or more turns."""
    chosen: tuple[Turn, ...]
    """Starts with an assistant turn, as `rejected` does; the two differ."""
    rejected: tuple[Turn, ...]


@dataclass(frozen=True)
class Labelled:
    """An answer to a prompt and the verdict on it; for preference training without pairs."""

    prompt: tuple[Turn, ...]
    """One or more turns."""
    answer: tuple[Turn, ...]
    """Starts with an assistant turn."""
    good: bool


@dataclass(frozen=True)
class Prompt:
    """Turns that a model has to answer, and the correct answer if it is known."""

    turns: tuple[Turn, ...]
    answer: str | None


def question(turns: tuple[Turn, ...]) -> str:
    """The content up to the first assistant turn; rows with the same question are split alike."""
    asked: list[str] = []
    for turn in turns:
        if turn.role == "assistant":
            break
        asked.append(turn.content)
    return "\n".join(asked)


def last_question(turns: tuple[Turn, ...]) -> str:
    """What the turns after the last answer say: what an answer to them is judged by."""
    asked: list[str] = []
    for turn in reversed(turns):
        if turn.role == "assistant":
            break
        if turn.role != "system":
            asked.append(turn.content)
    return "\n".join(reversed(asked))


if __name__ == "__main__":
    turns = (Turn("user", "Who is Pip?"), Turn("assistant", "A rabbit."), Turn("user", "Why?"))
    print(Conversation(turns), question(turns))
    assert (question(turns), last_question(turns)) == ("Who is Pip?", "Why?")
    print("=== 自测通过 ===")
