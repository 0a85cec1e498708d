"""The interface and its documents use the words of the field: see docs/glossary.toml."""

from __future__ import annotations

import re
import tomllib

import pytest
from repository import ROOT
from said import said_from_tables, said_in_code

GLOSSARY = tomllib.loads((ROOT / "docs/glossary.toml").read_text("utf-8"))
FORBIDDEN = [
    (re.compile(rf"(?<!\w)(?:{old})(?!\w)", re.IGNORECASE), term["say"])
    for term in GLOSSARY["term"]
    for old in term["not"]
]
FORBIDDEN_ZH = [
    (re.compile(old, re.IGNORECASE), term["say"]) for term in GLOSSARY["zh"] for old in term["not"]
]
DOCS = sorted((*ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md")))


_NAMES = re.compile(r"```.*?```|`[^`]*`|\{[^}]*\}", re.DOTALL)
"""Names of files, options and values, which are not chosen for their English."""


def faults(text: str, forbidden=FORBIDDEN) -> list[str]:
    """The forbidden words in a text, each with what to say."""
    prose = _NAMES.sub("{}", text)
    return [f"{found[0]!r}: say {say}" for old, say in forbidden if (found := old.search(prose))]


def test_screens_and_commands_speak_the_words_of_the_field() -> None:
    wrong = {text: found for text in said_in_code() | said_from_tables() if (found := faults(text))}
    assert not wrong


def test_the_chinese_of_screens_and_commands_does_so_too() -> None:
    wrong = {}
    for file in sorted((ROOT / "lmm_tui/i18n/zh").rglob("*.toml")):
        for text in tomllib.loads(file.read_text("utf-8")).values():
            if found := faults(text, FORBIDDEN_ZH):
                wrong[text] = found
    assert not wrong


@pytest.mark.parametrize("file", DOCS, ids=lambda file: file.name)
def test_docs_speak_the_words_of_the_field(file) -> None:
    forbidden = FORBIDDEN_ZH if file.name.endswith(".zh.md") else FORBIDDEN
    assert not faults(file.read_text("utf-8"), forbidden)


def test_a_forbidden_word_is_found_where_it_stands_and_not_within_another() -> None:
    assert faults("The run does not notice.") and faults("Held-out text")
    assert not faults("amendment, commends") and not faults("a name such as `held_out`")
    assert faults("{count} 个训练", FORBIDDEN_ZH) and faults("此训练已结束", FORBIDDEN_ZH)
    assert not faults("样本训练集，重新训练，用 8 个训练步", FORBIDDEN_ZH)
