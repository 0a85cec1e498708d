"""Questions about numbers below 100: sums, which is larger, and short word problems.

The answer is the number alone, or a name. What counts as the same question is
`data.builtin.holdout`'s.
"""

from __future__ import annotations

from random import Random

from lmm_tui.data.builtin.holdout import calculation, comparison
from lmm_tui.data.builtin.task import Task, near, pick
from lmm_tui.data.builtin.world import CHARACTERS, COUNTABLES, Character, Language, Thing


def sums(rng: Random, language: Language) -> Task:
    """a + b and a - b, all numbers from 0 to 20, 50 or 99, in equal shares."""
    most = rng.choice((20, 50, 99))
    whole = rng.randint(0, most)
    part = rng.randint(0, whole)
    sign = rng.choice("+-")
    left, right, result = (
        (part, whole - part, whole) if sign == "+" else (whole, part, whole - part)
    )
    word, zh_word = ("plus", "加") if sign == "+" else ("minus", "减")
    question = pick(
        rng,
        language,
        (
            f"What is {left} {sign} {right}?",
            f"{left} {sign} {right} = ?",
            f"Calculate {left} {sign} {right}.",
            f"How much is {left} {word} {right}?",
        ),
        (
            f"{left} {sign} {right} 等于几？",
            f"{left} {sign} {right} = ？",
            f"请计算 {left} {sign} {right}。",
            f"{left}{zh_word}{right}等于多少？",
        ),
    )
    key = calculation(left, sign, right)
    return Task("sums", language, question, str(result), key, near(result))


def comparisons(rng: Random, language: Language) -> Task:
    """Which of two different numbers from 0 to 99 is larger, or smaller."""
    left, right = rng.sample(range(100), 2)
    if rng.random() < 0.5:
        answer, miss = max(left, right), min(left, right)
        word, zh_word = rng.choice(("larger", "bigger")), "大"
    else:
        answer, miss = min(left, right), max(left, right)
        word, zh_word = "smaller", "小"
    question = pick(
        rng,
        language,
        (
            f"Which is {word}, {left} or {right}?",
            f"Which number is {word}: {left} or {right}?",
            f"{left} or {right}, which one is {word}?",
        ),
        (
            f"{left}和{right}，哪个{zh_word}？",
            f"{left}和{right}哪个数更{zh_word}？",
            f"比较{left}和{right}，哪个{zh_word}？",
        ),
    )
    key = comparison(left, right)
    return Task("comparisons", language, question, str(answer), key, (str(miss),))


def problems(rng: Random, language: Language) -> Task:
    """A change of what somebody has, in two sentences, with small numbers."""
    hero, friend = rng.sample(CHARACTERS, 2)
    thing = rng.choice(COUNTABLES)
    return rng.choice((_gets_more, _gives_away, _boxes, _who_has_more))(
        rng, language, hero, friend, thing
    )


def _gets_more(
    rng: Random, language: Language, hero: Character, friend: Character, thing: Thing
) -> Task:
    had, more = rng.randint(1, 20), rng.randint(1, 20)
    question = pick(
        rng,
        language,
        (
            f"{hero.name} has {thing.counted(had)}. {friend.name} gives {hero.him} {more} more. "
            f"How many {thing.many} does {hero.name} have now?",
            f"{hero.name} had {thing.counted(had)} and found {more} more. "
            f"How many {thing.many} are there now?",
        ),
        (
            f"{hero.zh}有{thing.zh_counted(str(had))}，{friend.zh}又给了{thing.zh_counted(str(more))}。"
            f"{hero.zh}现在有几{thing.measure}{thing.zh}？",
            f"{hero.zh}有{had}{thing.measure}{thing.zh}，又找到了{more}{thing.measure}。"
            "一共有多少？",
        ),
    )
    return _problem(language, question, had + more, calculation(had, "+", more))


def _gives_away(
    rng: Random, language: Language, hero: Character, friend: Character, thing: Thing
) -> Task:
    had = rng.randint(2, 30)
    gave = rng.randint(1, had - 1)
    question = pick(
        rng,
        language,
        (
            f"{hero.name} has {thing.counted(had)} and gives {gave} to {friend.name}. "
            f"How many {thing.many} are left?",
            f"{hero.name} had {thing.counted(had)} and lost {gave}. "
            f"How many {thing.many} are left?",
        ),
        (
            f"{hero.zh}有{thing.zh_counted(str(had))}，给了{friend.zh}{thing.zh_counted(str(gave))}。"
            f"还剩几{thing.measure}{thing.zh}？",
            f"{hero.zh}有{had}{thing.measure}{thing.zh}，丢了{gave}{thing.measure}。还剩多少？",
        ),
    )
    return _problem(language, question, had - gave, calculation(had, "-", gave))


def _boxes(
    rng: Random, language: Language, hero: Character, friend: Character, thing: Thing
) -> Task:
    boxes, inside = rng.randint(2, 9), rng.randint(2, 9)
    question = pick(
        rng,
        language,
        (
            f"{hero.name} has {boxes} boxes with {thing.counted(inside)} in each. "
            f"How many {thing.many} are there?",
        ),
        (
            f"{hero.zh}有{boxes}个盒子，每个盒子里有{thing.zh_counted(str(inside))}。"
            f"一共有几{thing.measure}{thing.zh}？",
        ),
    )
    return _problem(language, question, boxes * inside, calculation(boxes, "×", inside))


def _who_has_more(
    rng: Random, language: Language, hero: Character, friend: Character, thing: Thing
) -> Task:
    mine, yours = rng.sample(range(1, 30), 2)
    question = pick(
        rng,
        language,
        (f"{hero.name} has {thing.counted(mine)}, and {friend.name} has {yours}. Who has more?",),
        (
            f"{hero.zh}有{thing.zh_counted(str(mine))}，{friend.zh}有{thing.zh_counted(str(yours))}。谁的多？",
        ),
    )
    names = (hero.name, friend.name) if language == "en" else (hero.zh, friend.zh)
    winner, loser = names if mine > yours else names[::-1]
    return Task("problems", language, question, winner, comparison(mine, yours), (loser,))


def _problem(language: Language, question: str, result: int, key: str) -> Task:
    return Task("problems", language, question, str(result), key, near(result))


if __name__ == "__main__":
    draw = Random(0)
    for writer in (sums, comparisons, problems):
        for spoken in ("en", "zh"):
            task = writer(draw, spoken)
            print(task.question, "->", task.answer, task.misses)
            assert task.answer not in task.misses
    print("=== 自测通过 ===")
