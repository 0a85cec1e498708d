"""What the floors below have worded in English, told again in the language of the interface.

The floors know nothing of languages: a refusal, an event, a verdict comes as a finished sentence.
`<language>/retold/*.toml` holds such sentences with numbered places; told again is what leaves
the least of a sentence in English. English needs none of this, and reads nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from string import Formatter

from lmm_tui.i18n import language
from lmm_tui.metrics import names

LONGEST = 1000
"""Characters of a sentence that is still looked at."""
_REMEMBERED = 2048
_MEASURED = re.compile(r"(.+) (-?(?:\d[\d.e+-]*%?|nan|inf))")
"""A metric, or what a run is busy with, and its number."""
_NAME = r"'[^']*'|\"[^\"]*\"|[\w.:*-][\w.:*/-]*"
_NAMES = re.compile(rf"(?:{_NAME})(?:, (?:{_NAME}))+")
"""What is listed where words ask for it; a path from the root may have commas of its own."""


def translate_message(sentence: str) -> str:
    """A whole sentence of the floors below in the chosen language; as it is where unknown.

    What stands in its places is told again too, where it is known itself: an error in a refusal.
    """
    chosen = language.chosen()
    if chosen == "en" or len(sentence) > LONGEST:
        return sentence
    return _retold(chosen, sentence)


@dataclass(frozen=True)
class MessageTemplate:
    """A sentence with places `{0}`, `{1}` … in the order of the English one, and its translation.

    Braces that are no places are doubled in both.
    """

    english: str
    translation: str

    @cached_property
    def literals(self) -> list[str]:
        """What stands before, between and behind its places."""
        texts = [""]
        for text, place, _, _ in Formatter().parse(self.english):
            texts[-1] += text
            if place is not None:
                texts.append("")
        return texts

    @cached_property
    def is_joint(self) -> bool:
        """Whether it has no words of its own, such as `{0}: {1}`."""
        return not any(letter.isalpha() for letter in "".join(self.literals))

    def readings(self, sentence: str) -> Iterator[list[str]]:
        """What may stand in the places of a sentence: most in the first, then in the last."""
        first, *between, last = self.literals
        end = len(sentence) - len(last)
        if not (sentence.startswith(first) and sentence.endswith(last) and len(first) <= end):
            return
        start, values, reversed_values = len(first), [], []
        for literal in between:
            at = sentence.find(literal, start, end)
            if at < 0:
                return
            values.append(sentence[start:at])
            start = at + len(literal)
        values.append(sentence[start:end])
        stop = end
        for literal in reversed(between):
            at = sentence.rfind(literal, len(first), stop)
            reversed_values.append(sentence[at + len(literal) : stop])
            stop = at
        yield [sentence[len(first) : stop], *reversed(reversed_values)]
        yield values


@dataclass(frozen=True)
class _Sentences:
    whole: dict[str, str]
    templates: list[MessageTemplate]
    """Those with the longest text of their own first: they say the most precisely what is meant."""


def sentences(spoken: str) -> dict[str, str]:
    """All sentences of the floors below that can be told in a language, by the English ones."""
    return language.read(Path(__file__).with_name(spoken) / "retold")


@cache
def _sentences(spoken: str) -> _Sentences:
    known = sentences(spoken)
    templates = [MessageTemplate(*pair) for pair in known.items() if "{0}" in pair[0]]
    templates.sort(key=lambda template: -len("".join(template.literals)))
    return _Sentences({key: known[key] for key in known if "{0}" not in key}, templates)


def _title(probe: str) -> str:
    """What a probe is called on the screen; anything else is as it was."""
    known = names.KNOWN.get(names.PROBE + probe)
    return known.title if known else probe


@lru_cache(_REMEMBERED)
def _retold(spoken: str, sentence: str) -> str:
    return _Translator(_sentences(spoken), sentence).told


class _Translator:
    """One sentence, told again with all that stands in it."""

    def __init__(self, known: _Sentences, sentence: str) -> None:
        self._whole = known.whole
        self._templates = [
            it for it in known.templates if all(map(sentence.__contains__, it.literals))
        ]
        self._known: dict[tuple[str, bool], tuple[str, int]] = {}
        self.told = self._tell(sentence)[0]

    def _tell(self, sentence: str, asked: bool = False) -> tuple[str, int]:
        """A part of the sentence told again, and how many characters of it are left as they are.

        It is `asked` for where words stand before it.
        """
        if (sentence, asked) not in self._known:
            self._known[sentence, asked] = self._best(sentence, asked)
        return self._known[sentence, asked]

    def _best(self, sentence: str, asked: bool) -> tuple[str, int]:
        if (said := self._said(sentence)) != sentence:
            return said, 0
        if measured := _MEASURED.fullmatch(sentence):
            what, number = measured.groups()
            if (said := self._said(_title(what))) != what:
                return f"{said} {number}", 0
        best = sentence, len(sentence)
        for template in self._templates:
            for values in template.readings(sentence):
                told = [
                    self._value(value, template, asked or any(map(str.isalpha, before)))
                    for before, value in zip(template.literals, values, strict=False)
                ]
                left = sum(rest for _, rest in told)
                texts = [text for text, _ in told]
                if left < best[1] and not (template.is_joint and texts == values):
                    best = template.translation.format(*texts), left
            if not best[1]:
                return best
        return self._listed(sentence) or best

    def _said(self, sentence: str) -> str:
        return self._whole.get(sentence, language.tr(sentence))

    def _listed(self, sentence: str) -> tuple[str, int] | None:
        """A list told again, where that leaves nothing of it; names are left as they are."""
        parts = sentence.split(", ")
        told = [self._value(part) for part in parts if part != sentence]
        if not told or any(left for _, left in told):
            return None
        texts = [text for text, _ in told]
        return (sentence if texts == parts else "，".join(texts)), 0

    def _value(
        self, value: str, template: MessageTemplate | None = None, asked: bool = False
    ) -> tuple[str, int]:
        """What is no sentence is a name: `stop` is a word only where other words ask for it."""
        if asked and _NAMES.fullmatch(value):
            return language.listed(re.findall(_NAME, value)), 0
        if " " in value.strip():
            return self._tell(value, asked)
        named = template is None or template.is_joint
        return (value if named else self._whole.get(value, value)), 0


if __name__ == "__main__":
    import sys

    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    unknown = "/runs/fox: no such run in /runs; `lmm-tui runs` lists them"
    language.choose("en")
    assert translate_message(unknown) == unknown
    language.choose("zh")
    print(told := translate_message(unknown))
    assert told != unknown and "/runs/fox" in told
    assert translate_message("as it is") == "as it is"
    language.choose("en")
    print("=== 自测通过 ===")
