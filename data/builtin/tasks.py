"""The built-in questions: small, bilingual, with one right answer each, as data for every stage.

A pure function of (seed, index); train and test never share a question, whatever its wording or
language, and no sum that is tested stands in the built-in pretraining text. It knows no template
and no tokens; the kinds themselves are in `number_tasks`, `list_tasks` and `talk_tasks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from random import Random

from lmm_tui.data.builtin import list_tasks, number_tasks, talk_tasks
from lmm_tui.data.builtin.holdout import Split, split
from lmm_tui.data.builtin.task import KINDS, Task, Writer
from lmm_tui.data.errors import DataError
from lmm_tui.data.turns import Conversation, Pair, Prompt, Turn

_WRITERS: dict[str, tuple[Writer, int]] = {
    "sums": (number_tasks.sums, 4),
    "problems": (number_tasks.problems, 2),
    "comparisons": (number_tasks.comparisons, 1),
    "reversing": (list_tasks.reversing, 1),
    "counting": (list_tasks.counting, 1),
    "sorting": (list_tasks.sorting, 1),
    "copying": (list_tasks.copying, 1),
    "talk": (talk_tasks.talk, 1),
}
"""Who writes a kind, and the kind's weight in the mix: sums are what is measured."""

assert tuple(_WRITERS) == KINDS

_CONVERSATIONS = {"train": 20_000, "test": 1_000}
_PAIRS = _PROMPTS = {"train": 5_000, "test": 500}
_FRUITLESS = 500
"""Draws without a new question after which there are taken to be no more."""


@lru_cache(maxsize=2**15)
def task(seed: str, index: int, side: Split, kinds: tuple[str, ...] = KINDS) -> Task:
    """Question number `index` of a series, one of the side and the kinds asked for.

    Remembered: data are gone through for the tokenizer, then for their tokens.
    """
    rng = Random(f"task {seed} {side} {index}")
    weights = [_WRITERS[kind][1] for kind in kinds]
    write = _WRITERS[rng.choices(kinds, weights)[0]][0]
    while True:
        drawn = write(rng, rng.choice(("en", "zh")))
        if split(drawn.key) == side:
            return drawn


def conversations(
    side: Split, *, count: int | None = None, kinds: Sequence[str] = KINDS
) -> Iterator[Conversation]:
    """Questions and answers; one conversation in five has two of them.

    `count` is how many conversations, by default 20,000 to train on and 1,000 to test.
    """
    asked = 0
    for index in range(_CONVERSATIONS[side] if count is None else count):
        turns: tuple[Turn, ...] = ()
        for _ in range(2 if index % 5 == 4 else 1):
            drawn = task("chat", asked, side, tuple(kinds))
            asked += 1
            turns += Turn("user", drawn.question), Turn("assistant", drawn.answer)
        yield Conversation(turns)


def pairs(side: Split, *, count: int | None = None, kinds: Sequence[str] = KINDS) -> Iterator[Pair]:
    """The right answer against one that is nearly right; by default 5,000 and 500."""
    for index in range(_PAIRS[side] if count is None else count):
        drawn = task("pairs", index, side, tuple(kinds))
        miss = Random(f"miss {index}").choice(drawn.misses)
        asked = (Turn("user", drawn.question),)
        yield Pair(asked, (Turn("assistant", drawn.answer),), (Turn("assistant", miss),))


def prompts(
    side: Split, *, count: int | None = None, kinds: Sequence[str] = KINDS
) -> Iterator[Prompt]:
    """Questions, each with its exact answer; by default 5,000 and 500."""
    for index in range(_PROMPTS[side] if count is None else count):
        drawn = task("prompts", index, side, tuple(kinds))
        yield Prompt((Turn("user", drawn.question),), drawn.answer)


def test_set(kind: str, n: int) -> list[Task]:
    """The first `n` held-out questions of a kind, none of them worded like another.

    As long as there are any, each is a new one beneath the wording as well. Raises DataError where
    there are fewer.
    """
    found: dict[str, Task] = {}
    keys: set[str] = set()
    reworded = False
    fruitless = index = 0
    while len(found) < n:
        drawn = task("test set", index, "test", (kind,))
        index += 1
        fruitless += 1
        if drawn.question not in found and (reworded or drawn.key not in keys):
            found[drawn.question] = drawn
            keys.add(drawn.key)
            fruitless = 0
        elif fruitless > _FRUITLESS and reworded:
            raise DataError(
                "{kind}: only {found} held-out questions; ask for no more",
                kind=kind,
                found=len(found),
            )
        elif fruitless > _FRUITLESS:
            reworded, fruitless = True, 0
    return list(found.values())


if __name__ == "__main__":
    for name in KINDS:
        print(name, test_set(name, 2)[1])
    print("=== 自测通过 ===")
