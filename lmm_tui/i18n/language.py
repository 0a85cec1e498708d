"""The language of the interface: English stands in the code, and is the key to every other one.

What is said in another language stands in `lmm_tui/<language>/*.toml`, English = translation, a
file for each part of the interface. English needs none of them, and reads none. It knows no
screen; what the engine and the metrics word is translated where it is shown.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

from lmm_tui.terminal import capabilities

LANGUAGES = ("en", "zh")

_words: dict[str, str] = {}
_chosen = ["en"]


def choose(asked: str | None = None) -> str:
    """Use a language from now on: the one asked for, else that of the locale; says which.

    The locale is LC_ALL, LC_MESSAGES or LANG, the first that is set. English where it names none
    of LANGUAGES, or where standard output cannot show the characters of the other.
    """
    language = asked or locale_language(os.environ)
    if not _can_show(language, sys.stdout):
        language = "en"
    use(language)
    return language


def use(language: str) -> None:
    """Speak one of LANGUAGES from now on."""
    _words.clear()
    _chosen[0] = language
    if language != "en":
        _words.update(catalogue(language))


def chosen() -> str:
    """The language that is in use, one of LANGUAGES."""
    return _chosen[0]


def locale_language(environment: Mapping[str, str]) -> str:
    """The language that a POSIX environment asks for."""
    names = (environment.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    spoken = next(filter(None, names), "")[:2].lower()
    return spoken if spoken in LANGUAGES else "en"


def tr(text: str, /, *, about: str = "", **values: object) -> str:
    """`text` in the chosen language, with `values` in the places that it names in braces.

    A word that means another thing somewhere stands in the catalogue as `about|text`, too: `run`
    is a noun, but on the screen "Evaluate" it is what one does there.
    """
    said = (about and _words.get(f"{about}|{text}")) or _words.get(text, text)
    return said.format(**values) if values else said


def listed(names: Iterable[str]) -> str:
    """Names side by side; facts, which are parts of a sentence, are joined by `tr(", ")`."""
    return tr(", ", about="names").join(names)


def mark(text: str) -> str:
    """Says of a text in a table that `tr` will be given it, where it is shown."""
    return text


def catalogue(language: str) -> dict[str, str]:
    """All that is said in a language, by the English for it."""
    return read(Path(__file__).with_name(language))


def read(folder: Path) -> dict[str, str]:
    """What stands in the files of a folder, in one table."""
    import tomllib

    words: dict[str, str] = {}
    for file in sorted(folder.glob("*.toml")):
        words |= tomllib.loads(file.read_text("utf-8"))
    return words


def _can_show(language: str, stream: TextIO) -> bool:
    return language == "en" or capabilities.has_chinese(stream)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    assert choose("zh") == "zh"
    print(tr("quit"), tr("{file} gives a name other keys:", file="x"), len(_words), "phrases")
    assert tr("quit") == "退出" and listed(["a", "b"]) == "a、b"
    assert choose("en") == "en" and tr("quit") == "quit"
    assert locale_language({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}) == "en"
    print("=== 自测通过 ===")
