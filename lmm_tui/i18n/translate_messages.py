"""Translates finished English messages of the engine, the metrics and the data packages.

Those packages know nothing of languages: a refusal, an event or a verdict arrives as a sentence.
`<language>/messages/*.toml` holds the sentences as templates with numbered places. Several of them
may fit, and the values in their places may be messages themselves; the translation that leaves the
fewest characters in English wins. With English chosen nothing is read.
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
"""Longer messages are not translated; matching takes time that grows with the length."""
_CACHED = 2048
_MEASUREMENT = re.compile(r"(.+) (-?(?:\d[\d.e+-]*%?|nan|inf))")
"""A metric or an activity, and its number."""
_NAME = r"'[^']*'|\"[^\"]*\"|[\w.:*-][\w.:*/-]*"
_NAMES = re.compile(rf"(?:{_NAME})(?:, (?:{_NAME}))+")
"""A list of names. An absolute path never begins one, as it may contain commas."""


def translate_message(message: str) -> str:
    """A message in the chosen language; unchanged if no template fits."""
    chosen = language.chosen()
    if chosen == "en" or len(message) > LONGEST:
        return message
    return _translated(chosen, message)


def translate_range(allowed: str) -> str:
    """`engine.config.config.Option.allowed` in the chosen language; empty stays empty."""
    tr = language.tr
    number, _, span = allowed.partition(" from ")
    if span:
        low, _, high = span.partition(" to ")
        return tr("{number} from {low} to {high}", number=tr(number), low=low, high=high)
    number, *bounds = allowed.split(", ")
    limits = [bound.rpartition(" ") for bound in bounds]
    return tr(", ").join([tr(number), *(f"{tr(word)} {limit}" for word, _, limit in limits)])


@dataclass(frozen=True)
class MessageTemplate:
    """An English message with places `{0}`, `{1}` …, numbered in order, and its translation.

    Literal braces are doubled in both.
    """

    english: str
    translation: str

    @cached_property
    def literals(self) -> list[str]:
        """The text before, between and after the places."""
        texts = [""]
        for text, place, _, _ in Formatter().parse(self.english):
            texts[-1] += text
            if place is not None:
                texts.append("")
        return texts

    @cached_property
    def is_joint(self) -> bool:
        """Whether it only joins its places, such as `{0}: {1}`."""
        return not any(letter.isalpha() for letter in "".join(self.literals))

    def matches(self, message: str) -> Iterator[list[str]]:
        """Values for the places so that the template gives `message`; empty if it cannot.

        Where a literal occurs more than once there are two readings: the longest first value,
        then the longest last value.
        """
        first, *between, last = self.literals
        end = len(message) - len(last)
        if not (message.startswith(first) and message.endswith(last) and len(first) <= end):
            return
        start, values, reversed_values = len(first), [], []
        for literal in between:
            at = message.find(literal, start, end)
            if at < 0:
                return
            values.append(message[start:at])
            start = at + len(literal)
        values.append(message[start:end])
        stop = end
        for literal in reversed(between):
            at = message.rfind(literal, len(first), stop)
            reversed_values.append(message[at + len(literal) : stop])
            stop = at
        yield [message[len(first) : stop], *reversed(reversed_values)]
        yield values


@dataclass(frozen=True)
class _Catalogue:
    whole: dict[str, str]
    """Messages without places."""
    templates: list[MessageTemplate]
    """Those with the most literal text first: they are the most specific."""


def messages(code: str) -> dict[str, str]:
    """All messages that can be translated into a language: English = translation."""
    return language.read(Path(__file__).with_name(code) / "messages")


@cache
def _catalogue(code: str) -> _Catalogue:
    known = messages(code)
    templates = [MessageTemplate(*pair) for pair in known.items() if "{0}" in pair[0]]
    templates.sort(key=lambda template: -len("".join(template.literals)))
    return _Catalogue({key: known[key] for key in known if "{0}" not in key}, templates)


@lru_cache(_CACHED)
def _translated(code: str, message: str) -> str:
    return _Translator(_catalogue(code), message).translation


def _title(probe: str) -> str:
    """The title of a probe on the screen; other text unchanged."""
    known = names.KNOWN.get(names.PROBE + probe)
    return known.title if known else probe


class _Translator:
    """Translates one message, and recursively the messages in its places."""

    def __init__(self, catalogue: _Catalogue, message: str) -> None:
        self._whole = catalogue.whole
        # Parts of the message are shorter: a template that cannot fit it fits none of them.
        self._templates = [
            it for it in catalogue.templates if all(map(message.__contains__, it.literals))
        ]
        self._known: dict[tuple[str, bool], tuple[str, int]] = {}
        self.translation = self._translate(message)[0]

    def _translate(self, text: str, after_words: bool = False) -> tuple[str, int]:
        """The translation of a part, and how many of its characters are still English.

        `after_words`: words stand before it in the message, so it may be a list of names.
        """
        if (text, after_words) not in self._known:
            self._known[text, after_words] = self._best(text, after_words)
        return self._known[text, after_words]

    def _best(self, text: str, after_words: bool) -> tuple[str, int]:
        if (translation := self._look_up(text)) != text:
            return translation, 0
        if measurement := _MEASUREMENT.fullmatch(text):
            what, number = measurement.groups()
            if (translation := self._look_up(_title(what))) != what:
                return f"{translation} {number}", 0
        best = text, len(text)
        for template in self._templates:
            for values in template.matches(text):
                parts = [
                    self._value(value, template, after_words or any(map(str.isalpha, before)))
                    for before, value in zip(template.literals, values, strict=False)
                ]
                left = sum(rest for _, rest in parts)
                texts = [part for part, _ in parts]
                if left < best[1] and not (template.is_joint and texts == values):
                    best = template.translation.format(*texts), left
            if not best[1]:
                return best
        return self._list(text) or best

    def _look_up(self, text: str) -> str:
        return self._whole.get(text, language.tr(text))

    def _list(self, text: str) -> tuple[str, int] | None:
        """A comma-separated list, if every item can be translated or is a name."""
        items = text.split(", ")
        parts = [self._value(item) for item in items if item != text]
        if not parts or any(left for _, left in parts):
            return None
        texts = [part for part, _ in parts]
        return (text if texts == items else "，".join(texts)), 0

    def _value(
        self, value: str, template: MessageTemplate | None = None, after_words: bool = False
    ) -> tuple[str, int]:
        """The value of a place. A single word is a name, except in a template with words:
        `stop` in `cannot {0}` is translated, in `{0}: {1}` it is not."""
        if after_words and _NAMES.fullmatch(value):
            return language.listed(re.findall(_NAME, value)), 0
        if " " in value.strip():
            return self._translate(value, after_words)
        is_name = template is None or template.is_joint
        return (value if is_name else self._whole.get(value, value)), 0


if __name__ == "__main__":
    refusal = "/runs/fox: no such run in /runs; `lmm-tui runs` lists them"
    language.use("zh")
    print(translate_message(refusal), translate_range("number, above 0"))
    language.use("en")
    print("=== 自测通过 ===")
