"""The little world that stories and sums are about: who lives there, what there is, how many.

Names and words stand once, in `world.toml`, so that what one kind of text teaches serves the
others. It knows no plot and no arithmetic.
"""

from __future__ import annotations

from functools import cache
from itertools import chain

from lmm_tui.data.builtin.numerals import number_word, zh_number
from lmm_tui.data.builtin.wording import Language, Term, Word, read

_TABLES = read("world")


@cache
def count(language: Language, number: int, thing: Term) -> Word:
    """`3` (0 to 99), whose forms are `word`, three; `things`, 3 apples; `in_words`, three apples.

    In Chinese, two is 两 before a measure word.
    """
    if language == "en":
        word = number_word(number)
        unit = f" {thing.en if number == 1 else thing.en.many}"
    else:
        word = "两" if number == 2 else zh_number(number)
        unit = f"{thing.zh.measure}{thing.zh}"
    return Word(str(number), word=word, things=f"{number}{unit}", in_words=f"{word}{unit}")


def _animal(row: dict[str, str]) -> Term:
    """Chinese calls animals by their kind."""
    return _character(
        row, known_as=f"{row['en']} the {row['kind']}", ta="它", intro=f"一只{row['zh']}"
    )


def _child(row: dict[str, str]) -> Term:
    return _character(row, known_as=row["en"], intro=f"一个叫{row['zh']}的小{row['zh_kind']}")


def _character(row: dict[str, str], **forms: str) -> Term:
    him, his = {"he": ("him", "his"), "she": ("her", "her")}[row["he"]]
    return Term.of(row | {"him": him, "his": his} | forms)


_MAKERS = {"animals": _animal, "children": _child}

SIGNS = {sign: Term.of(row) for sign, row in _TABLES["signs"].items()}
"""What + - × ÷ are called."""

WORLD: dict[str, tuple[Term, ...]] = {
    name: tuple(map(_MAKERS.get(name, Term.of), rows)) for name, rows in _TABLES["tables"].items()
}
"""Everything there is, by the name of its table or group of tables."""

for _name, _members in _TABLES["groups"].items():
    WORLD[_name] = tuple(chain.from_iterable(WORLD[member] for member in _members))


if __name__ == "__main__":
    duck, tom = WORLD["animals"][3], WORLD["children"][0]
    print(duck.en.known_as, tom.zh.intro, count("zh", 2, WORLD["fruits"][0]).in_words)
    print("=== 自测通过 ===")
