"""Cuts a long text into documents of a few kilobytes at its blank lines.

It is handed lines, from wherever they come, and never holds more than one document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

SEPARATOR = "<|endoftext|>"
"""Ends a document wherever it stands, as in many published .txt corpora."""

_ENOUGH = 4096
_TOO_MUCH = 65536


def documents(lines: Iterable[str]) -> Iterator[str]:
    """Documents out of `lines` (with their line ends); blank ones are left out.

    A document ends at `<|endoftext|>`, at the first blank line after 4,096 characters, or at the
    first line end after 65,536. So a novel becomes documents of some paragraphs each, and a file
    of short texts with separators keeps its own bounds.
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
