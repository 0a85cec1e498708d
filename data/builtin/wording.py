"""The built-in text as data: wordings in TOML files, and how their gaps are filled.

A wording is a sentence in each language with gaps such as `{hero}` or `{thing.many}`: the name of
a fact, and one of its forms. Several wordings of the same thing stand on a line each. It knows no
story and no question.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from pathlib import Path
from random import Random
from string import Formatter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

FOLDER = Path(__file__).parent

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
Wording = Mapping[str, str]
"""By language: one sentence, or several with a line each."""


class Word(str):
    """What a language calls something; its other forms are attributes, such as `apple.many`."""

    def __new__(cls, text: str, **forms: str) -> Self:
        word = super().__new__(cls, text)
        vars(word).update(forms)
        return word

    if TYPE_CHECKING:

        def __getattr__(self, form: str) -> str: ...

    @property
    def a(self) -> str:
        """With the English indefinite article that the first letter wants."""
        return f"{'an' if self[0] in 'aeiou' else 'a'} {self}"


class Term(NamedTuple):
    """The same thing in both languages."""

    en: Word
    zh: Word

    @classmethod
    def of(cls, row: Mapping[str, str]) -> Term:
        """A row with `en` and `zh`; what else it holds are forms."""
        forms = {form: text for form, text in row.items() if form not in {"en", "zh"}}
        return cls(Word(row["en"], **forms), Word(row["zh"], **forms))

    def name(self, language: Language) -> str:
        """The word alone, without its forms."""
        return str(self.en if language == "en" else self.zh)


Fact = Term | str | int
Sentence = Callable[[SimpleNamespace], str]
"""A wording that fills its gaps with the facts it is given, in its own language."""


@cache
def read(name: str) -> dict[str, Any]:
    """The contents of one of the built-in files, such as `world` or `story_plots/race`."""
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def sentence(wording: str) -> Sentence:
    """The wording taken apart once, which makes filling it twice as fast as `str.format`.

    A fact at the start gets a capital letter.
    """
    pieces = list(Formatter().parse(wording))
    gaps = [gap for _, gap, _, _ in pieces if gap]
    if not gaps:
        return lambda facts: wording
    read_gaps = attrgetter(*gaps)
    template = "".join(text.replace("%", "%%") + "%s" * bool(gap) for text, gap, _, _ in pieces)
    if not wording.startswith("{"):
        return lambda facts: template % read_gaps(facts)

    def capitalised(facts: SimpleNamespace) -> str:
        text = template % read_gaps(facts)
        return text[0].upper() + text[1:]

    return capitalised


@cache
def sentences(wordings: str) -> tuple[Sentence, ...]:
    """One for each line."""
    return tuple(map(sentence, wordings.strip().splitlines()))


def in_language(language: Language, facts: Mapping[str, Fact]) -> SimpleNamespace:
    """The facts as one language calls them; text and numbers are the same in both."""
    at = LANGUAGES.index(language)
    return SimpleNamespace(
        **{name: fact[at] if isinstance(fact, Term) else fact for name, fact in facts.items()}
    )


def say(language: Language, wording: Wording, /, **facts: Fact) -> str:
    """The only wording in this language, filled with the facts."""
    return sentences(wording[language])[0](in_language(language, facts))


def pick(rng: Random, language: Language, wordings: Wording, /, **facts: Fact) -> str:
    """One of the wordings in this language, filled with the facts."""
    return rng.choice(sentences(wordings[language]))(in_language(language, facts))


if __name__ == "__main__":
    pear = Term.of({"en": "old pear", "zh": "梨", "many": "pears"})
    taste = {"en": "{fruit.a}, {number} {fruit.many}?", "zh": "{number}个{fruit}吗？"}
    for language in ("en", "zh"):
        print(say(language, taste, fruit=pear, number=2))
    print("=== 自测通过 ===")
