"""Sums of our own: equations, comparisons and word problems, a pure function of (seed, index).

Numbers stay below 100 and every answer is right. What is held out as a question
(`data.builtin.holdout`)
is never worked out here, so that whoever answers it has not read it. The people and things are
those of the stories; it knows nothing of files, tokens or how much text is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from lmm_tui.data.builtin.holdout import calculation, comparison, split
from lmm_tui.data.builtin.world import (
    CHARACTERS,
    COUNTABLES,
    Character,
    Thing,
    number_word,
    zh_count,
    zh_number,
)

Writer = Callable[[Random], str]


def sums(seed: int, index: int) -> str:
    """Page number `index` of `seed`: a dozen lines of one kind, or a few word problems."""
    rng = Random(f"sums {seed} {index}")
    writer, lines, gap = rng.choice(_PAGES)
    count = rng.randint(lines - lines // 3, lines + lines // 3)
    return gap.join(writer(rng) for _ in range(count))


def _equation(rng: Random) -> str:
    left, sign, right, result = _calculation(rng)
    return f"{left} {sign} {right} = {result}"


def _chain(rng: Random) -> str:
    first, second, third = _trained(
        lambda: (rng.randint(1, 30), rng.randint(1, 30), rng.randint(1, 30)),
        lambda one, two, three: (
            calculation(one, "+", two),
            calculation(one + two, "+", three),
            calculation(one + two + three, "-", one),
            calculation(two + three, "-", two),
        ),
    )
    total = first + second + third
    if rng.random() < 0.5:
        return (
            f"{first} + {second} + {third} = {first + second} + {third} = {first + second + third}"
        )
    return f"{total} - {first} - {second} = {total - first} - {second} = {third}"


def _comparison(rng: Random) -> str:
    left, right = _trained(
        lambda: (rng.randint(0, 99), rng.randint(0, 99)), lambda *both: (comparison(*both),)
    )
    sign = "<" if left < right else ">" if left > right else "="
    return f"{left} {sign} {right}"


def _spoken(rng: Random) -> str:
    left, sign, right, result = _calculation(rng)
    word = {"+": "plus", "-": "minus", "×": "times", "÷": "divided by"}[sign]
    sentence = f"{number_word(left)} {word} {number_word(right)} is {number_word(result)}."
    return sentence[0].upper() + sentence[1:]


def _zh_spoken(rng: Random) -> str:
    left, sign, right, result = _calculation(rng)
    word = {"+": "加", "-": "减", "×": "乘以", "÷": "除以"}[sign]
    return f"{zh_number(left)}{word}{zh_number(right)}等于{zh_number(result)}。"


def _larger(rng: Random) -> str:
    left, right = _trained(
        lambda: tuple(rng.sample(range(100), 2)), lambda *both: (comparison(*both),)
    )
    if rng.random() < 0.5:
        return f"Which is larger, {left} or {right}? {max(left, right)} is larger."
    return f"{left}和{right}，哪个大？{max(left, right)}大。"


def _calculation(rng: Random) -> tuple[int, str, int, int]:
    """(left, sign, right, result), all from 0 to 99; sums and differences are the most."""
    while True:
        left, sign, right, result = _any_calculation(rng)
        if split(calculation(left, sign, right)) == "train":
            return left, sign, right, result


def _any_calculation(rng: Random) -> tuple[int, str, int, int]:
    sign = rng.choice("+++---×÷")
    if sign == "+":
        result = rng.randint(0, 99)
        left = rng.randint(0, result)
        return left, sign, result - left, result
    if sign == "-":
        left = rng.randint(0, 99)
        right = rng.randint(0, left)
        return left, sign, right, left - right
    left, right = rng.randint(1, 9), rng.randint(1, 9)
    if sign == "×":
        return left, sign, right, left * right
    return left * right, sign, left, right


def _trained(
    draw: Callable[[], tuple[int, ...]], asked: Callable[..., tuple[str, ...]]
) -> tuple[int, ...]:
    """Numbers from `draw`, drawn anew until none of the questions `asked` of them is held out."""
    while True:
        numbers = draw()
        if all(split(question) == "train" for question in asked(*numbers)):
            return numbers


def _word_problem(rng: Random) -> str:
    """A change of what somebody has, told in one language, with question and answer."""
    hero, friend = rng.sample(CHARACTERS, 2)
    thing = rng.choice(COUNTABLES)
    plot = rng.choice((_gets_more, _gives_away, _each_has, _who_has_more))
    return plot(rng, hero, friend, thing)


def _gets_more(rng: Random, hero: Character, friend: Character, thing: Thing) -> str:
    had, more = _trained(
        lambda: (rng.randint(1, 40), rng.randint(1, 40)),
        lambda had, more: (calculation(had, "+", more),),
    )
    total = had + more
    if rng.random() < 0.5:
        return (
            f"{hero.name} had {thing.counted(had)}. {friend.name} gave {hero.him} {more} more. "
            f"How many {thing.many} does {hero.name} have now? "
            f"{had} + {more} = {total}. {hero.name} has {thing.counted(total)}."
        )
    return (
        f"{hero.zh}有{_zh(thing, had)}，{friend.zh}又给了{hero.zh_pronoun}{_zh(thing, more)}。"
        f"{hero.zh}一共有几{thing.measure}{thing.zh}？"
        f"{had} + {more} = {total}。{hero.zh}一共有{_zh(thing, total)}。"
    )


def _gives_away(rng: Random, hero: Character, friend: Character, thing: Thing) -> str:
    had, gave = _trained(
        lambda: (had := rng.randint(2, 80), rng.randint(1, had - 1)),
        lambda had, gave: (calculation(had, "-", gave),),
    )
    left = had - gave
    if rng.random() < 0.5:
        return (
            f"{hero.name} had {thing.counted(had)} and gave {gave} to {friend.name}. "
            f"How many {thing.many} are left? "
            f"{had} - {gave} = {left}. {hero.name} has {thing.counted(left)} left."
        )
    return (
        f"{hero.zh}有{_zh(thing, had)}，给了{friend.zh}{_zh(thing, gave)}。"
        f"{hero.zh}还剩几{thing.measure}{thing.zh}？"
        f"{had} - {gave} = {left}。{hero.zh}还剩{_zh(thing, left)}。"
    )


def _each_has(rng: Random, hero: Character, friend: Character, thing: Thing) -> str:
    boxes, inside = _trained(
        lambda: (rng.randint(2, 9), rng.randint(2, 9)),
        lambda boxes, inside: (calculation(boxes, "×", inside),),
    )
    total = boxes * inside
    if rng.random() < 0.5:
        return (
            f"{hero.name} has {boxes} boxes with {thing.counted(inside)} in each. "
            f"How many {thing.many} are there? {boxes} × {inside} = {total}. "
            f"There are {thing.counted(total)}."
        )
    return (
        f"{hero.zh}有{zh_count(boxes)}个盒子，每个盒子里有{_zh(thing, inside)}。"
        f"一共有几{thing.measure}{thing.zh}？"
        f"{boxes} × {inside} = {total}。一共有{_zh(thing, total)}。"
    )


def _who_has_more(rng: Random, hero: Character, friend: Character, thing: Thing) -> str:
    mine, yours = _trained(
        lambda: tuple(rng.sample(range(1, 60), 2)),
        lambda *both: (comparison(*both), calculation(max(both), "-", min(both))),
    )
    winner = hero if mine > yours else friend
    more, less = max(mine, yours), min(mine, yours)
    gap = more - less
    if rng.random() < 0.5:
        return (
            f"{hero.name} has {thing.counted(mine)}, and {friend.name} has "
            f"{thing.counted(yours)}. Who has more? {more} - {less} = {gap}. "
            f"{winner.name} has {gap} more."
        )
    return (
        f"{hero.zh}有{_zh(thing, mine)}，{friend.zh}有{_zh(thing, yours)}。谁的多？"
        f"{more} - {less} = {gap}。{winner.zh}多{_zh(thing, gap)}。"
    )


def _zh(thing: Thing, number: int) -> str:
    return thing.zh_counted(zh_count(number))


_PAGES: tuple[tuple[Writer, int, str], ...] = (
    (_equation, 18, "\n"),
    (_equation, 18, "\n"),
    (_chain, 9, "\n"),
    (_comparison, 15, "\n"),
    (_spoken, 9, " "),
    (_zh_spoken, 12, ""),
    (_larger, 9, "\n"),
    (_word_problem, 3, "\n"),
    (_word_problem, 3, "\n"),
    (_word_problem, 3, "\n"),
)
"""What a page is filled with, about how many of them, and what stands between two."""


if __name__ == "__main__":
    for number in range(4):
        print(sums(0, number), end="\n\n")
    assert sums(0, 3) == sums(0, 3) != sums(1, 3)
    print("=== 自测通过 ===")
