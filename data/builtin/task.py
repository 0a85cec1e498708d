"""One small question with one right answer, and what the writers of all kinds share.

It knows no kind of question; those are in `number_tasks`, `list_tasks` and `talk_tasks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from random import Random

    from lmm_tui.data.builtin.wording import Language

KINDS = (
    "sums",
    "problems",
    "comparisons",
    "reversing",
    "counting",
    "sorting",
    "copying",
    "talk",
)
"""What may be asked; who writes each kind is known to `data.builtin.tasks`."""


@dataclass(frozen=True)
class Task:
    kind: str
    language: Language
    question: str
    answer: str
    """Short, exact, and the same for every wording of the question in this language."""
    key: str
    """The question beneath the wording, in no language: what is held out is decided by it."""
    misses: tuple[str, ...]
    """One or more wrong answers that are nearly right, all different."""


Writer: TypeAlias = "Callable[[Random, Language], Task]"
"""Draws a question of its kind; everything it does follows from the generator it is given."""


def near(number: int) -> tuple[str, ...]:
    """Wrong answers near a right one of 0 or more: one off, ten off, digits swapped."""
    swapped = int(str(number)[::-1])
    misses = (number + 1, number - 1, swapped, number + 10, number - 10)
    return tuple(dict.fromkeys(str(miss) for miss in misses if miss >= 0 and miss != number))


if __name__ == "__main__":
    print(near(0), near(7), near(42), near(40))
    assert "24" in near(42) and "42" not in near(42) and "7" not in near(7)
    print("=== 自测通过 ===")
