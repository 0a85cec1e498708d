"""Small talk about the story world: greetings, who is who, and who is where with what.

The last two kinds tell the facts first, so that they can be answered; who is who is known from
the stories that a model was pretrained on.
"""

from __future__ import annotations

from random import Random

from lmm_tui.data.builtin.task import Task, pick
from lmm_tui.data.builtin.world import CHARACTERS, CHILDREN, COLOURS, PLACES, TREASURES, Language, a


def talk(rng: Random, language: Language) -> Task:
    """One turn of small talk, of any kind."""
    return rng.choice((_greeting, _who, _where, _where, _what, _what))(rng, language)


def _greeting(rng: Random, language: Language) -> Task:
    """Somebody says a name and gets it back."""
    hero, other = rng.sample(CHARACTERS, 2)
    at = rng.randrange(len(_GREETINGS[language]))
    wordings, reply = _GREETINGS[language][at]
    name, wrong = (hero.name, other.name) if language == "en" else (hero.zh, other.zh)
    question = rng.choice(wordings).format(name=name)
    swapped = _GREETINGS[language][at - 1][1].format(name=name)
    misses = (reply.format(name=wrong), swapped)
    return _task(language, question, reply.format(name=name), f"greet {at} {hero.name}", misses)


def _who(rng: Random, language: Language) -> Task:
    """Chinese calls animals by their kind, so there it asks for children only."""
    if language == "en":
        hero, other = rng.sample(CHARACTERS, 2)
        wordings = (
            f"Who is {hero.name}?",
            f"Do you know {hero.name}?",
            f"Tell me who {hero.name} is.",
        )
        answer = f"{hero.name} is a little {hero.kind}."
        miss = f"{other.name} is a little {hero.kind}."
        return _task(language, rng.choice(wordings), answer, f"who {hero.name}", (miss,))
    child = rng.choice(CHILDREN)
    kind, wrong = ("男孩", "女孩") if child.gender == "he" else ("女孩", "男孩")
    wordings = (f"{child.zh}是谁？", f"你认识{child.zh}吗？", f"告诉我{child.zh}是谁。")
    answer, miss = (f"{child.zh}是一个小{which}。" for which in (kind, wrong))
    return _task(language, rng.choice(wordings), answer, f"who {child.name}", (miss,))


def _where(rng: Random, language: Language) -> Task:
    """Two live somewhere; where does one of them live, or who lives there?"""
    hero, friend = rng.sample(CHARACTERS, 2)
    home, other = rng.sample(PLACES, 2)
    lives = ((hero, home), (friend, other))
    if rng.random() < 0.5:
        lives = lives[::-1]
    if language == "en":
        (one, there), (two, here) = lives
        facts = f"{one.name} lives {there.where}, and {two.name} lives {here.where}."
        names, homes = (hero.name, friend.name), (home.where, other.where)
    else:
        facts = "，".join(f"{who.zh}住在{place.zh}" for who, place in lives) + "。"
        names, homes = (hero.zh, friend.zh), (home.zh, other.zh)
    key = f"where {hero.name} {home.where}, {friend.name} {other.where}"
    if rng.random() < 0.5:
        asked = pick(
            rng,
            language,
            (f"Where does {names[0]} live?", f"Where is the home of {names[0]}?"),
            (f"{names[0]}住在哪里？", f"{names[0]}的家在哪里？"),
        )
        answer, miss = (_sentence(language, place) for place in homes)
    else:
        asked = pick(
            rng,
            language,
            (f"Who lives {homes[0]}?", f"Whose home is {homes[0]}?"),
            (f"谁住在{homes[0]}？", f"{homes[0]}是谁的家？"),
        )
        answer, miss = (_sentence(language, name) for name in names)
    return _task(language, _joined(language, facts, asked), answer, key, (miss,))


def _what(rng: Random, language: Language) -> Task:
    """Two have something; what does one of them have?"""
    hero, friend = rng.sample(CHARACTERS, 2)
    thing, other = rng.sample(TREASURES, 2)
    colour, shade = rng.sample(COLOURS, 2)
    mine = (hero, thing, colour)
    has = (mine, (friend, other, shade))
    if rng.random() < 0.5:
        has = has[::-1]
    key = f"what {hero.name} {colour.en} {thing.one}, {friend.name} {shade.en} {other.one}"
    if language == "en":
        parts = [f"{who.name} has {a(f'{look.en} {what.one}')}" for who, what, look in has]
        facts = f"{parts[0]}, and {parts[1]}."
        asked = rng.choice((f"What does {hero.name} have?", f"What has {hero.name} got?"))
        answer, miss = (f"{look.en} {what.one}" for look, what in ((colour, thing), (shade, other)))
        answer, miss = _sentence(language, a(answer)), _sentence(language, a(miss))
    else:
        facts = (
            "，".join(f"{who.zh}有一{what.measure}{look.zh}{what.zh}" for who, what, look in has)
            + "。"
        )
        asked = rng.choice((f"{hero.zh}有什么？", f"{hero.zh}有的是什么？"))
        answer, miss = (
            _sentence(language, f"一{what.measure}{look.zh}{what.zh}")
            for look, what in ((colour, thing), (shade, other))
        )
    return _task(language, _joined(language, facts, asked), answer, key, (miss,))


def _sentence(language: Language, words: str) -> str:
    return f"{words[0].upper()}{words[1:]}." if language == "en" else f"{words}。"


def _joined(language: Language, *sentences: str) -> str:
    return (" " if language == "en" else "").join(sentences)


def _task(
    language: Language, question: str, answer: str, key: str, misses: tuple[str, ...]
) -> Task:
    return Task("talk", language, question, answer, key, misses)


_GREETINGS: dict[Language, tuple[tuple[tuple[str, ...], str], ...]] = {
    "en": (
        (("Hello, I am {name}.", "Hi! My name is {name}."), "Hello, {name}! Nice to meet you."),
        (("Good night! It is me, {name}.", "{name} wants to sleep now."), "Good night, {name}!"),
        (("Thank you! Yours, {name}.", "{name} says thank you."), "You are welcome, {name}!"),
        (("Goodbye from {name}!", "{name} has to go now."), "Goodbye, {name}! See you tomorrow."),
    ),
    "zh": (
        (("你好，我是{name}。", "你好！我叫{name}。"), "你好，{name}！很高兴认识你。"),
        (("晚安！我是{name}。", "{name}要睡觉了。"), "晚安，{name}！"),
        (("谢谢你！我是{name}。", "{name}说谢谢你。"), "不客气，{name}！"),
        (("再见！我是{name}。", "{name}要走了。"), "再见，{name}！明天见。"),
    ),
}
"""Ways to say it, and the reply; in the same order in both languages."""


if __name__ == "__main__":
    draw = Random(0)
    for writer in (_greeting, _who, _where, _what):
        for spoken in ("en", "zh"):
            task = writer(draw, spoken)
            print(task.question, "->", task.answer, task.misses)
            assert task.answer not in task.misses
    print("=== 自测通过 ===")
