"""Short stories of our own, in English and Chinese, as a pure function of (seed, index).

A story keeps its facts (who has what, where) throughout, so that a small model can learn them; a
plot is a list of steps, each told in one of several wordings. What is told stands in
`stories.toml` and `story_plots/`. It knows nothing of files, tokens or how much text is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from lmm_tui.data.builtin.wording import (
    LANGUAGES,
    Language,
    Sentence,
    Term,
    in_language,
    read,
    sentences,
)
from lmm_tui.data.builtin.world import WORLD, count

_ENGLISH, _CHINESE = 0.45, 0.45  # The rest tells the same story in both languages.

Facts = dict[str, Term]
Step = tuple[Sentence, ...]
"""Ways to say what happens next."""


@dataclass(frozen=True)
class StoryPlot:
    """A file of `story_plots/`; what its keys mean is said in `stories.toml`."""

    steps: dict[Language, list[Step]]
    draw: dict[str, list[str]]
    count: dict[str, Any]
    one_of: list[Facts]
    helper: str


def story(seed: int, index: int) -> str:
    """Story number `index` of `seed`: English, Chinese, or first the one and then the other."""
    rng = Random(f"story {seed} {index}")
    plot = rng.choice(plots())
    facts = _facts(plot, rng)
    scene = rng.choice(WORLD["scenes"]) if rng.random() < 0.5 else None
    languages = rng.random()
    if languages < _ENGLISH:
        return _tell(plot, facts, scene, "en", rng)
    if languages < _ENGLISH + _CHINESE:
        return _tell(plot, facts, scene, "zh", rng)
    return "\n\n".join(_tell(plot, facts, scene, language, rng) for language in LANGUAGES)


@cache
def plots() -> tuple[StoryPlot, ...]:
    return tuple(_plot(read(f"story_plots/{name}")) for name in read("stories")["plots"])


def _plot(text: dict[str, Any]) -> StoryPlot:
    return StoryPlot(
        steps={language: _steps(text[language], language) for language in LANGUAGES},
        draw=text.get("draw", {}),
        count=text.get("count", {}),
        one_of=[
            {name: Term.of(row) for name, row in facts.items()} for facts in text.get("one_of", ())
        ],
        helper=text.get("helper", "hero"),
    )


def _steps(text: str, language: Language) -> list[Step]:
    """The opening and the paragraphs of a text, where `[name]` is a step that plots share."""
    shared = {f"[{name}]": wording[language] for name, wording in read("stories")["steps"].items()}
    paragraphs = ("[opening]", *text.strip().split("\n\n"))
    return [sentences(shared[step] if step.startswith("[") else step) for step in paragraphs]


def _facts(plot: StoryPlot, rng: Random) -> Facts:
    """Who is in the story, where and when, and what its plot is about."""
    hero, friend = rng.sample(WORLD["characters"], 2)
    home, here, there = rng.sample(WORLD["places"], 3)
    facts = {"hero": hero, "friend": friend, "home": home, "here": here, "there": there}
    for name, table in (("elder", "elders"), ("time", "times"), ("colour", "colours")):
        facts[name] = rng.choice(WORLD[table])
    for table, names in plot.draw.items():
        facts |= zip(names, rng.sample(WORLD[table], len(names)), strict=True)
    if plot.count:
        facts |= _counts(rng, plot.count, facts[plot.count["of"]])
    if plot.one_of:
        facts |= rng.choice(plot.one_of)
    facts["helper"], facts["helped"] = (hero, friend) if plot.helper == "hero" else (friend, hero)
    return facts


def _counts(rng: Random, rule: dict[str, Any], thing: Term) -> Facts:
    """How many there are and, where the plot parts them, how many on each side."""
    number = rng.randint(rule["from"], rule["to"])
    numbers = {rule["name"]: number}
    if "parts" in rule:
        part, rest = rule["parts"]
        numbers[part] = rng.randint(1, number - 1)
        numbers[rest] = number - numbers[part]
    return {
        name: Term(count("en", number, thing), count("zh", number, thing))
        for name, number in numbers.items()
    }


def _tell(
    plot: StoryPlot, facts: Facts, scene: Term | None, language: Language, rng: Random
) -> str:
    steps = plot.steps[language]
    if scene is not None:
        steps = [steps[0], sentences(scene.name(language)), *steps[1:]]
    said = in_language(language, facts)
    told = [rng.choice(step)(said) for step in steps]
    return (" " if language == "en" else "").join(told)


if __name__ == "__main__":
    for number in range(4):
        print(story(0, number), end="\n\n")
    print("=== 自测通过 ===")
