"""Questions about numbers below 100: sums, which is larger, and short word problems.

The answer is the number alone, or a name. Equal questions are told by `data.builtin.holdout`; how
one is asked stands in `number_tasks.toml`.
"""

from __future__ import annotations

from random import Random

from lmm_tui.data.builtin.holdout import calculation, comparison
from lmm_tui.data.builtin.task import Task, near
from lmm_tui.data.builtin.wording import LANGUAGES, Language, Term, pick, read
from lmm_tui.data.builtin.world import SIGNS, WORLD, count

Facts = dict[str, Term]

_TEXT = read("number_tasks")


def sums(rng: Random, language: Language) -> Task:
    """a + b and a - b, all numbers from 0 to 20, 50 or 99, in equal shares."""
    most = rng.choice((20, 50, 99))
    whole = rng.randint(0, most)
    part = rng.randint(0, whole)
    sign = rng.choice("+-")
    left, right, result = (
        (part, whole - part, whole) if sign == "+" else (whole, part, whole - part)
    )
    question = pick(
        rng, language, _TEXT["sums"], left=left, sign=sign, right=right, word=SIGNS[sign]
    )
    key = calculation(left, sign, right)
    return Task("sums", language, question, str(result), key, near(result))


def comparisons(rng: Random, language: Language) -> Task:
    """Which of two different numbers from 0 to 99 is larger, or smaller."""
    left, right = rng.sample(range(100), 2)
    answer, miss = min(left, right), max(left, right)
    which = "smaller"
    if rng.random() < 0.5:
        answer, miss = miss, answer
        which = rng.choice(("larger", "bigger"))
    term = Term.of(_TEXT["which"][which])
    question = pick(rng, language, _TEXT["comparisons"], which=term, left=left, right=right)
    key = comparison(left, right)
    return Task("comparisons", language, question, str(answer), key, (str(miss),))


def problems(rng: Random, language: Language) -> Task:
    """A change of what somebody has, in two sentences, with small numbers."""
    hero, friend = rng.sample(WORLD["characters"], 2)
    thing = rng.choice(WORLD["countables"])
    problem = rng.choice((_gets_more, _gives_away, _boxes, _who_has_more))
    return problem(rng, language, {"hero": hero, "friend": friend, "thing": thing})


def _gets_more(rng: Random, language: Language, facts: Facts) -> Task:
    had, more = rng.randint(1, 20), rng.randint(1, 20)
    question = _asked(rng, language, "gets_more", facts, had=had, more=more)
    return _problem(language, question, had + more, calculation(had, "+", more))


def _gives_away(rng: Random, language: Language, facts: Facts) -> Task:
    had = rng.randint(2, 30)
    gave = rng.randint(1, had - 1)
    question = _asked(rng, language, "gives_away", facts, had=had, gave=gave)
    return _problem(language, question, had - gave, calculation(had, "-", gave))


def _boxes(rng: Random, language: Language, facts: Facts) -> Task:
    boxes, inside = rng.randint(2, 9), rng.randint(2, 9)
    question = _asked(rng, language, "boxes", facts, boxes=boxes, inside=inside)
    return _problem(language, question, boxes * inside, calculation(boxes, "×", inside))


def _who_has_more(rng: Random, language: Language, facts: Facts) -> Task:
    mine, yours = rng.sample(range(1, 30), 2)
    question = _asked(rng, language, "who_has_more", facts, mine=mine, yours=yours)
    names = [facts[who].name(language) for who in ("hero", "friend")]
    winner, loser = names if mine > yours else names[::-1]
    return Task("problems", language, question, winner, comparison(mine, yours), (loser,))


def _asked(rng: Random, language: Language, name: str, facts: Facts, **numbers: int) -> str:
    thing = facts["thing"]
    counts = {number: count(language, value, thing) for number, value in numbers.items()}
    return pick(rng, language, _TEXT[name], **facts, **counts)


def _problem(language: Language, question: str, result: int, key: str) -> Task:
    return Task("problems", language, question, str(result), key, near(result))


if __name__ == "__main__":
    for writer in (sums, comparisons, problems):
        for spoken in LANGUAGES:
            print(writer(Random(0), spoken))
    print("=== 自测通过 ===")
