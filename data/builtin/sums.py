"""Sums of our own: equations, comparisons and word problems, a pure function of (seed, index).

Numbers stay below 100 and every answer is right. What is held out as a question
(`data.builtin.holdout`)
is never worked out here, so that whoever answers it has not read it. The people and things are
those of the stories, and what is said of them stands in `sums.toml`; it knows nothing of tokens
or how much text is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import starmap
from random import Random

from lmm_tui.data.builtin.holdout import calculation, comparison, split
from lmm_tui.data.builtin.numerals import number_word, zh_number
from lmm_tui.data.builtin.wording import Language, Term, read, say
from lmm_tui.data.builtin.world import SIGNS, WORLD, count

Writer = Callable[[Random], str]
Question = tuple[int, str, int]
"""Such as (3, "+", 4); with "or", which of the two is larger."""
Facts = dict[str, Term]

_TEXT = read("sums")


def sums(seed: int, index: int) -> str:
    """Page number `index` of `seed`: a dozen lines of one kind, or a few word problems."""
    rng = Random(f"sums {seed} {index}")
    writer, lines, gap = rng.choice(_PAGES)
    wanted = rng.randint(lines - lines // 3, lines + lines // 3)
    return gap.join([writer(rng) for _ in range(wanted)])


def _equation(rng: Random) -> str:
    left, sign, right, result = _calculation(rng)
    return f"{left} {sign} {right} = {result}"


def _chain(rng: Random) -> str:
    first, second, third = _trained(
        lambda: (rng.randint(1, 30), rng.randint(1, 30), rng.randint(1, 30)),
        lambda one, two, three: (
            (one, "+", two),
            (one + two, "+", three),
            (one + two + three, "-", one),
            (two + three, "-", two),
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
        lambda: (rng.randrange(100), rng.randrange(100)), lambda left, right: ((left, "or", right),)
    )
    sign = "<" if left < right else ">" if left > right else "="
    return f"{left} {sign} {right}"


def _spoken(rng: Random) -> str:
    return _said(rng, "en", number_word)


def _zh_spoken(rng: Random) -> str:
    return _said(rng, "zh", zh_number)


def _said(rng: Random, language: Language, spell: Callable[[int], str]) -> str:
    left, sign, right, result = _calculation(rng)
    numbers = {"left": spell(left), "right": spell(right), "result": spell(result)}
    return say(language, _TEXT["spoken"], sign=SIGNS[sign], **numbers)


def _larger(rng: Random) -> str:
    left, right = _trained(
        lambda: tuple(rng.sample(range(100), 2)), lambda left, right: ((left, "or", right),)
    )
    return say(_either(rng), _TEXT["larger"], left=left, right=right, larger=max(left, right))


def _either(rng: Random) -> Language:
    return "en" if rng.random() < 0.5 else "zh"


def _calculation(rng: Random) -> tuple[int, str, int, int]:
    """(left, sign, right, result), all from 0 to 99; sums and differences are the most."""
    while True:
        left, sign, right, result = _any_calculation(rng)
        if not _held_out(left, sign, right):
            return left, sign, right, result


def _any_calculation(rng: Random) -> tuple[int, str, int, int]:
    sign = rng.choice("+++---×÷")
    if sign == "+":
        result = rng.randrange(100)
        left = rng.randrange(result + 1)
        return left, sign, result - left, result
    if sign == "-":
        left = rng.randrange(100)
        right = rng.randrange(left + 1)
        return left, sign, right, left - right
    left, right = rng.randint(1, 9), rng.randint(1, 9)
    if sign == "×":
        return left, sign, right, left * right
    return left * right, sign, left, right


def _trained(
    draw: Callable[[], tuple[int, ...]], asked: Callable[..., tuple[Question, ...]]
) -> tuple[int, ...]:
    """Numbers from `draw`, drawn anew until none of the questions `asked` of them is held out."""
    while True:
        numbers = draw()
        if not any(starmap(_held_out, asked(*numbers))):
            return numbers


@cache
def _held_out(left: int, sign: str, right: int) -> bool:
    """Whether that is a question to test with; remembered, as the same few come all the time."""
    question = comparison(left, right) if sign == "or" else calculation(left, sign, right)
    return split(question) == "test"


def _word_problem(rng: Random) -> str:
    """A change of what somebody has, told in one language, with question and answer."""
    hero, friend = rng.sample(WORLD["characters"], 2)
    thing = rng.choice(WORLD["countables"])
    problem = rng.choice((_gets_more, _gives_away, _each_has, _who_has_more))
    return problem(rng, {"hero": hero, "friend": friend, "thing": thing})


def _gets_more(rng: Random, facts: Facts) -> str:
    had, more = _trained(
        lambda: (rng.randint(1, 40), rng.randint(1, 40)),
        lambda had, more: ((had, "+", more),),
    )
    return _problem(rng, "gets_more", facts, had=had, more=more, total=had + more)


def _gives_away(rng: Random, facts: Facts) -> str:
    had, gave = _trained(
        lambda: (had := rng.randint(2, 80), rng.randint(1, had - 1)),
        lambda had, gave: ((had, "-", gave),),
    )
    return _problem(rng, "gives_away", facts, had=had, gave=gave, left=had - gave)


def _each_has(rng: Random, facts: Facts) -> str:
    boxes, inside = _trained(
        lambda: (rng.randint(2, 9), rng.randint(2, 9)),
        lambda boxes, inside: ((boxes, "×", inside),),
    )
    return _problem(rng, "each_has", facts, boxes=boxes, inside=inside, total=boxes * inside)


def _who_has_more(rng: Random, facts: Facts) -> str:
    mine, yours = _trained(
        lambda: tuple(rng.sample(range(1, 60), 2)),
        lambda *both: ((both[0], "or", both[1]), (max(both), "-", min(both))),
    )
    facts["winner"] = facts["hero" if mine > yours else "friend"]
    more, less = max(mine, yours), min(mine, yours)
    numbers = {"mine": mine, "yours": yours, "more": more, "less": less, "gap": more - less}
    return _problem(rng, "who_has_more", facts, **numbers)


def _problem(rng: Random, name: str, facts: Facts, **numbers: int) -> str:
    language, thing = _either(rng), facts["thing"]
    counts = {number: count(language, value, thing) for number, value in numbers.items()}
    return say(language, _TEXT[name], **facts, **counts)


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
