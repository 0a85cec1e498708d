"""Questions about short lists of digits, numbers or names: reverse, count, sort, copy.

The answer is a number or the list alone, written as the question writes lists. How it is asked
stands in `list_tasks.toml`.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from lmm_tui.data.builtin.task import Task, near
from lmm_tui.data.builtin.wording import LANGUAGES, Language, pick, read
from lmm_tui.data.builtin.world import WORLD

_TEXT = read("list_tasks")


def reversing(rng: Random, language: Language) -> Task:
    """Two to four different digits or names, the last one first."""
    items, name = _items(rng, language, rng.randint(2, 4))
    given = _listed(items)
    question = pick(rng, language, _TEXT["reversing"], given=given)
    answer = items[::-1]
    misses = _different(answer, (_swapped(rng, answer), items))
    return Task("reversing", language, question, _listed(answer), f"reverse {name}", misses)


def counting(rng: Random, language: Language) -> Task:
    """How often one of two digits or names comes in three to six of them."""
    (one, other), name = _items(rng, language, 2)
    times = rng.randint(1, 5)
    pattern = "x" * times + "-" * rng.randint(max(1, 3 - times), 6 - times)
    pattern = "".join(rng.sample(pattern, len(pattern)))
    given = _listed(one if mark == "x" else other for mark in pattern)
    question = pick(rng, language, _TEXT["counting"], one=one, given=given)
    key = f"count {name} {pattern}"
    return Task("counting", language, question, str(times), key, near(times)[:2])


def sorting(rng: Random, language: Language) -> Task:
    """Three or four different numbers, digits or up to 99, upwards or downwards."""
    numbers = rng.sample(range(rng.choice((10, 100))), rng.randint(3, 4))
    given = _listed(map(str, numbers))
    downwards = rng.random() < 0.3
    wordings = _TEXT["sorting_down" if downwards else "sorting_up"]
    question = pick(rng, language, wordings, given=given)
    upwards = [str(number) for number in sorted(numbers)]
    answer = upwards[::-1] if downwards else upwards
    misses = _different(answer, (_swapped(rng, answer), answer[::-1]))
    key = f"sort {_listed(upwards)}"
    return Task("sorting", language, question, _listed(answer), key, misses)


def copying(rng: Random, language: Language) -> Task:
    """Two to five different digits or names, once more."""
    items, name = _items(rng, language, rng.randint(2, 5))
    given = _listed(items)
    question = pick(rng, language, _TEXT["copying"], given=given)
    misses = _different(items, (_swapped(rng, items), items[:-1]))
    return Task("copying", language, question, given, f"copy {name}", misses)


def _items(rng: Random, language: Language, count: int) -> tuple[list[str], str]:
    """Different digits or names, and what they are called in no language."""
    if rng.random() < 0.5:
        digits = [str(digit) for digit in rng.sample(range(10), count)]
        return digits, " ".join(digits)
    characters = rng.sample(WORLD["characters"], count)
    names = [who.name(language) for who in characters]
    return names, " ".join(who.en for who in characters)


def _listed(items: Iterable[str]) -> str:
    """Numbers with spaces between them, names with commas."""
    parts = list(items)
    if parts[0].isdigit():
        return " ".join(parts)
    return (", " if parts[0].isascii() else "，").join(parts)


def _swapped(rng: Random, items: list[str]) -> list[str]:
    """With two neighbours in each other's place."""
    at = rng.randrange(len(items) - 1)
    return [*items[:at], items[at + 1], items[at], *items[at + 2 :]]


def _different(answer: list[str], candidates: Iterable[list[str]]) -> tuple[str, ...]:
    """The wrong answers among them, each once."""
    return tuple(dict.fromkeys(_listed(wrong) for wrong in candidates if wrong != answer))


if __name__ == "__main__":
    for writer in (reversing, counting, sorting, copying):
        for spoken in LANGUAGES:
            print(writer(Random(0), spoken))
    print("=== 自测通过 ===")
