"""Questions about short lists of digits, numbers or names: reverse, count, sort, copy.

The answer is a number or the list alone, written as the question writes lists.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from lmm_tui.data.builtin.task import Task, near, pick
from lmm_tui.data.builtin.world import CHARACTERS, Language


def reversing(rng: Random, language: Language) -> Task:
    """Two to four different digits or names, the last one first."""
    items, name = _items(rng, language, rng.randint(2, 4))
    given = _listed(items)
    question = pick(
        rng,
        language,
        (
            f"Reverse this list: {given}",
            f"Write this list backwards: {given}",
            f"Say these in the opposite order: {given}",
        ),
        (f"倒过来写：{given}", f"请倒着说：{given}", f"从后往前写：{given}"),
    )
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
    question = pick(
        rng,
        language,
        (
            f"How many times does {one} appear in this list: {given}",
            f"Count {one} in this list: {given}",
            f"How often do you see {one} here: {given}",
        ),
        (
            f"{one}在这里出现了几次：{given}",
            f"数一数有几个{one}：{given}",
            f"下面有几个{one}：{given}",
        ),
    )
    key = f"count {name} {pattern}"
    return Task("counting", language, question, str(times), key, near(times)[:2])


def sorting(rng: Random, language: Language) -> Task:
    """Three or four different numbers, digits or up to 99, upwards or downwards."""
    numbers = rng.sample(range(rng.choice((10, 100))), rng.randint(3, 4))
    given = _listed(map(str, numbers))
    downwards = rng.random() < 0.3
    if downwards:
        question = pick(
            rng,
            language,
            (f"Sort from large to small: {given}", f"Put these in order, largest first: {given}"),
            (f"从大到小排列：{given}", f"请把这些数从大到小排：{given}"),
        )
    else:
        question = pick(
            rng,
            language,
            (f"Sort from small to large: {given}", f"Put these in order, smallest first: {given}"),
            (f"从小到大排列：{given}", f"请把这些数从小到大排：{given}"),
        )
    upwards = [str(number) for number in sorted(numbers)]
    answer = upwards[::-1] if downwards else upwards
    misses = _different(answer, (_swapped(rng, answer), answer[::-1]))
    key = f"sort {_listed(upwards)}"
    return Task("sorting", language, question, _listed(answer), key, misses)


def copying(rng: Random, language: Language) -> Task:
    """Two to five different digits or names, once more."""
    items, name = _items(rng, language, rng.randint(2, 5))
    given = _listed(items)
    question = pick(
        rng,
        language,
        (f"Repeat: {given}", f"Copy this: {given}", f"Say after me: {given}"),
        (f"请重复：{given}", f"照着写：{given}", f"跟我说：{given}"),
    )
    misses = _different(items, (_swapped(rng, items), items[:-1]))
    return Task("copying", language, question, given, f"copy {name}", misses)


def _items(rng: Random, language: Language, count: int) -> tuple[list[str], str]:
    """Different digits or names, and what they are called in no language."""
    if rng.random() < 0.5:
        digits = [str(digit) for digit in rng.sample(range(10), count)]
        return digits, " ".join(digits)
    characters = rng.sample(CHARACTERS, count)
    names = [who.name if language == "en" else who.zh for who in characters]
    return names, " ".join(who.name for who in characters)


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
    draw = Random(0)
    for writer in (reversing, counting, sorting, copying):
        for spoken in ("en", "zh"):
            task = writer(draw, spoken)
            print(task.question, "->", task.answer, task.misses)
            assert task.misses and task.answer not in task.misses
    print("=== 自测通过 ===")
