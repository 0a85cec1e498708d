"""The language of the interface. English text is in the code and is the key of a translation.

`<language>/*.toml` beside this file holds `"English" = "translation"`, one file for each part of
the interface; for English no file is read. Messages of the engine and the metrics are translated
where they are shown, by `translate_messages`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

from lmm_tui.terminal import capabilities

LANGUAGES = ("en", "zh")

_translations: dict[str, str] = {}
_chosen = ["en"]


def choose(code: str | None = None) -> str:
    """Set the language to `code`, by default that of the locale; returns the language set.

    The locale is the first of LC_ALL, LC_MESSAGES and LANG that is set. English is used if it is
    not among LANGUAGES, or if standard output cannot show its characters.
    """
    language = code or locale_language(os.environ)
    if not _can_show(language, sys.stdout):
        language = "en"
    use(language)
    return language


def use(language: str) -> None:
    """Set the language, one of LANGUAGES."""
    _translations.clear()
    _chosen[0] = language
    if language != "en":
        _translations.update(catalogue(language))


def chosen() -> str:
    """The language in use, one of LANGUAGES."""
    return _chosen[0]


def locale_language(environment: Mapping[str, str]) -> str:
    """The language of a POSIX environment; English if it is not among LANGUAGES."""
    names = (environment.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    code = next(filter(None, names), "")[:2].lower()
    return code if code in LANGUAGES else "en"


def tr(text: str, /, *, about: str = "", **values: object) -> str:
    """`text` in the chosen language, with `values` in its places in braces.

    `about` tells two meanings of a text apart: the catalogue key `about|text` is tried first.
    `run` is a noun, but on the screen "Evaluate" it is a verb.
    """
    specific = _translations.get(f"{about}|{text}") if about else None
    translation = specific or _translations.get(text, text)
    return translation.format(**values) if values else translation


def listed(names: Iterable[str]) -> str:
    """Join names to a list; parts of a sentence are joined by `tr(", ")` instead."""
    return tr(", ", about="names").join(names)


def mark(text: str) -> str:
    """Return `text`; marks text in a table that is translated later, for the catalogue's test."""
    return text


def catalogue(language: str) -> dict[str, str]:
    """The interface texts of a language: English = translation."""
    return read(Path(__file__).with_name(language))


def read(folder: Path) -> dict[str, str]:
    """The TOML files of a folder as one table."""
    import tomllib

    table: dict[str, str] = {}
    for file in sorted(folder.glob("*.toml")):
        table |= tomllib.loads(file.read_text("utf-8"))
    return table


def _can_show(language: str, stream: TextIO) -> bool:
    return language == "en" or capabilities.has_chinese(stream)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    assert choose("zh") == "zh" and tr("quit") == "退出"
    print(tr("quit"), listed(["a", "b"]), len(_translations), "texts")
    assert choose("en") == "en" and tr("quit") == "quit"
    print("=== 自测通过 ===")
