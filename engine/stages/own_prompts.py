"""Prompts for samples, cut from the validation data of the user.

What a model of someone's own data says to foreign prompts tells nothing about it.
"""

from __future__ import annotations

from collections.abc import Iterable

MOST = 4
_SHORTEST = 3
"""Characters of a prompt."""


def beginnings(
    texts: Iterable[str], fallback: tuple[str, ...], longest: int = 40
) -> tuple[str, ...]:
    """The beginnings of some texts, each once; `fallback` where no text has one.

    They have at most `longest` characters.
    """
    found: dict[str, None] = {}
    for text in texts:
        if prompt := _beginning(text, longest):
            found.setdefault(prompt)
        if len(found) == MOST:
            break
    return tuple(found) or fallback


def _beginning(text: str, longest: int) -> str:
    """The first words of the first whole line, without what a cut through a character left."""
    line = max(text.replace("\ufffd", "").splitlines()[:3], key=len, default="").strip()
    if len(line) > longest:
        cut = line[:longest]
        line = cut.rsplit(" ", 1)[0] if " " in cut else cut[: longest // 3]
    return line if len(line) >= _SHORTEST else ""


def spread(count: int) -> list[int]:
    """Places all over so many items: more than are needed, for some may have no beginning."""
    return sorted({count * number // (4 * MOST) for number in range(4 * MOST)} & set(range(count)))


if __name__ == "__main__":
    print(beginnings(["ow\nThe king of France is bald, and so is he.\n", "从前有一只小兔子"], ()))
    assert beginnings(["", "\ufffd"], ("Once",)) == ("Once",)
    assert len(spread(1000)) == 16 and spread(2) == [0, 1]
    print("=== 自测通过 ===")
