"""Small talk about the story world: greetings, who is who, and who is where with what.

The last two kinds tell the facts first, so that they can be answered; who is who is known from
the stories that a model was pretrained on. What is said stands in `talk_tasks.toml`.
"""

from __future__ import annotations

from random import Random

from lmm_tui.data.builtin.task import Task
from lmm_tui.data.builtin.wording import LANGUAGES, Language, Term, Wording, pick, read, say
from lmm_tui.data.builtin.world import WORLD

_TEXT = read("talk_tasks")


def talk(rng: Random, language: Language) -> Task:
    """One turn of small talk, of any kind."""
    return rng.choice((_greeting, _who, _where, _where, _what, _what))(rng, language)


def _greeting(rng: Random, language: Language) -> Task:
    """Somebody says a name and gets it back."""
    hero, other = rng.sample(WORLD["characters"], 2)
    at = rng.randrange(len(_TEXT["greetings"]))
    greeting, before = _TEXT["greetings"][at], _TEXT["greetings"][at - 1]
    question = pick(rng, language, greeting["asks"], hero=hero)
    answer = say(language, greeting["reply"], hero=hero)
    misses = (
        say(language, greeting["reply"], hero=other),
        say(language, before["reply"], hero=hero),
    )
    return Task("talk", language, question, answer, f"greet {at} {hero.en}", misses)


def _who(rng: Random, language: Language) -> Task:
    """Chinese calls animals by their kind, so there it asks for children only."""
    if language == "en":
        hero, other = rng.sample(WORLD["characters"], 2)
        kind = wrong = hero.en.kind
    else:
        hero = other = rng.choice(WORLD["children"])
        kind = hero.zh.zh_kind
        wrong = next(c.zh.zh_kind for c in WORLD["children"] if c.zh.zh_kind != kind)
    question = pick(rng, language, _TEXT["who"]["asks"], hero=hero)
    answer = say(language, _TEXT["who"]["reply"], hero=hero, kind=kind)
    miss = say(language, _TEXT["who"]["reply"], hero=other, kind=wrong)
    return Task("talk", language, question, answer, f"who {hero.en}", (miss,))


def _where(rng: Random, language: Language) -> Task:
    """Two live somewhere; where does one of them live, or who lives there?"""
    text = _TEXT["lives"]
    hero, friend = rng.sample(WORLD["characters"], 2)
    home, other = rng.sample(WORLD["places"], 2)
    right, wrong = {"who": hero, "place": home}, {"who": friend, "place": other}
    one, two = _told(rng, language, text["says"], right, wrong)
    asked = text["place" if rng.random() < 0.5 else "person"]
    question = pick(rng, language, asked["asks"], one=one, two=two, **right)
    answer, miss = (say(language, asked["reply"], **facts) for facts in (right, wrong))
    key = f"where {hero.en} {home.en.where}, {friend.en} {other.en.where}"
    return Task("talk", language, question, answer, key, (miss,))


def _what(rng: Random, language: Language) -> Task:
    """Two have something; what does one of them have?"""
    text = _TEXT["has"]
    hero, friend = rng.sample(WORLD["characters"], 2)
    thing, other = rng.sample(WORLD["treasures"], 2)
    colour, shade = rng.sample(WORLD["colours"], 2)
    right = {"who": hero, "thing": thing, "colour": colour}
    wrong = {"who": friend, "thing": other, "colour": shade}
    one, two = _told(rng, language, text["says"], right, wrong)
    question = pick(rng, language, text["asks"], one=one, two=two, who=hero)
    answer, miss = (say(language, text["reply"], **facts) for facts in (right, wrong))
    key = f"what {hero.en} {colour.en} {thing.en}, {friend.en} {shade.en} {other.en}"
    return Task("talk", language, question, answer, key, (miss,))


def _told(
    rng: Random, language: Language, says: Wording, right: dict[str, Term], wrong: dict[str, Term]
) -> list[str]:
    """What is said of both, in any order."""
    order = (right, wrong) if rng.random() >= 0.5 else (wrong, right)
    return [say(language, says, **facts) for facts in order]


if __name__ == "__main__":
    for writer in (_greeting, _who, _where, _what):
        for spoken in LANGUAGES:
            print(writer(Random(0), spoken))
    print("=== 自测通过 ===")
