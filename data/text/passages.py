"""Cuts a long text into documents of a few kilobytes at its blank lines.

It is handed lines, from wherever they come, and never holds more than one document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

SEPARATOR = "<|endoftext|>"
"""Ends a document wherever it stands, as in many published .txt corpora."""

LONGEST = 1 << 22
"""No document is longer: characters of a row, bytes of a line of a .txt file. Longer ones are cut,
so that what is held in memory has a bound."""

_ENOUGH = 4096
_TOO_MUCH = 65536


def documents(lines: Iterable[str]) -> Iterator[str]:
    """Documents out of `lines` (with their line ends); blank ones are left out.

    A document ends at `<|endoftext|>`, at the first blank line after 4,096 characters, or at the
    first line end after 65,536 (and a part of a line of more than 4 MB is one). So a novel becomes
    documents of some paragraphs each, and a file of short texts with separators keeps its own
    bounds.
    """
    held: list[str] = []
    size = 0
    for line in lines:
        *ended, rest = line.split(SEPARATOR)
        for part in ended:
            yield from _document([*held, part])
            held, size = [], 0
        held.append(rest)
        size += len(rest)
        if (size >= _ENOUGH and not rest.strip()) or size >= _TOO_MUCH:
            yield from _document(held)
            held, size = [], 0
    yield from _document(held)


def cut_long(text: str) -> Iterator[str]:
    """A text, in parts if it is longer than `LONGEST`: cut after a space if there is one."""
    start = 0
    while len(text) - start > LONGEST:
        space = text.rfind(" ", start + LONGEST // 2, start + LONGEST)
        end = space + 1 if space >= 0 else start + LONGEST
        yield text[start:end]
        start = end
    yield text[start:] if start else text


def _document(parts: list[str]) -> Iterator[str]:
    """One document without blank lines around it, or none."""
    text = "".join(parts).strip("\r\n")
    if text.strip():
        yield text


if __name__ == "__main__":
    novel = ["It was night.\n", "\n"] * 1000
    print([len(text) for text in documents(novel)])
    assert list(documents(["one\n<|endoftext|>\n", "two"])) == ["one", "two"]
    print("=== 自测通过 ===")
