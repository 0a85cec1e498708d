"""Translates messages of the engine, the metrics and the data packages where they are shown.

Those packages know nothing of languages: a `Message` brings its template and its values here.
`<language>/messages/*.toml` holds the templates; values that are messages are translated too. Any
other text, such as that of a run of another program, stays as it is.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from lmm_tui.i18n import language
from lmm_tui.message import PLACE, Message, fill
from lmm_tui.metrics import names

_JOINTS = {"; ": "；", ": ": "：", ", ": "，", " (": "（", ")": "）"}
"""How Chinese joins messages: a template without words needs no entry of its own."""


def translate_message(message: str) -> str:
    """A message in the chosen language; other text unchanged."""
    if language.chosen() == "en" or not isinstance(message, Message):
        return message
    english = message.template
    template = messages(language.chosen()).get(english) or language.tr(_title(english))
    if template == english and is_joint(english):
        template = _joined(english)
    return fill(template, message.values, translate_message, _listed)


def is_joint(template: str) -> bool:
    """Whether a template only joins its values, such as `{path}: {problem}`."""
    return not any(letter.isalpha() for letter in PLACE.sub("", template))


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


@cache
def messages(code: str) -> dict[str, str]:
    """All messages that can be translated into a language: English = translation."""
    return language.read(Path(__file__).with_name(code) / "messages")


def _listed(parts: list[str], of_messages: bool) -> str:
    return language.tr(", ").join(parts) if of_messages else language.listed(parts)


def _title(text: str) -> str:
    """The title of a probe on the screen; other text unchanged."""
    known = names.KNOWN.get(names.PROBE + text)
    return known.title if known else text


def _joined(template: str) -> str:
    for english, chinese in _JOINTS.items():
        template = template.replace(english, chinese)
    return template


if __name__ == "__main__":
    refusal = Message(
        "{name}: no such run in {folder}; `lmm-tui runs` lists them", name="fox", folder="/runs"
    )
    language.use("zh")
    print(translate_message(refusal), translate_range("number, above 0"))
    language.use("en")
    print("=== 自测通过 ===")
