"""Where text comes from: the built-in mix, or the user's files, as one stream of documents.

Every source has an identity that is known without reading it anew more than it must: the key
under which its tokens are cached. It knows no tokenizer and no tokens.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Protocol

from lmm_tui.data.builtin.stories import story
from lmm_tui.data.builtin.sums import sums
from lmm_tui.data.builtin.version import version_of
from lmm_tui.data.text.files import FileText
from lmm_tui.data.text.json_rows import BadLine, Skipped
from lmm_tui.data.text.source import Source
from lmm_tui.data.text.stdlib_text import stdlib_texts

BUILTIN = "builtin"

_SEED = 2024
_STDLIB_SHARE = 0.7
_GENERATOR = (
    *("text/corpus.py", "text/passages.py", "text/stdlib_text.py"),
    *("builtin/holdout.py", "builtin/numerals.py", "builtin/stories.py", "builtin/stories.toml"),
    *("builtin/story_plots/*.toml", "builtin/sums.py", "builtin/sums.toml", "builtin/wording.py"),
    *("builtin/world.py", "builtin/world.toml"),
)
"""What the built-in text follows from."""


class TextSource(Protocol):
    """A stream of documents that can be read more than once and is the same each time."""

    notes: tuple[str, ...]
    """Sentences for people about how it was chosen."""

    @property
    def size(self) -> int:
        """About how many bytes there are to read."""

    def identity(self, progress: Callable[[str, int, int], None]) -> str:
        """Equal for equal text."""

    @property
    def changes(self) -> str:
        """Equal as long as nothing has changed; known without reading the text."""

    def documents(self, skipped: Skipped) -> Iterator[str]:
        """The documents, none of them blank; what had to be left out goes to `skipped`."""

    def locate(self, bad: BadLine) -> str:
        """Where a line that was left out stands, for people."""


class TextInMemory(ABC):
    """Documents that are made when they are first asked for, none of them from a line of a file."""

    notes: tuple[str, ...] = ()

    def documents(self, skipped: Skipped) -> Iterator[str]:
        return iter(self._texts)

    def locate(self, bad: BadLine) -> str:
        raise AssertionError("a text in memory has no bad lines; what it is made of may have")

    @property
    @abstractmethod
    def _texts(self) -> list[str]: ...


class BuiltinText(TextInMemory):
    """About 70 % of this Python's standard library and 30 % stories and sums, shuffled.

    Where the library gives less than its share, stories and sums fill up.
    """

    def __init__(self, megabytes: float) -> None:
        self.size = round(megabytes * 1e6)

    def identity(self, progress: Callable[[str, int, int], None]) -> str:
        """Known without reading the library: a Python build has one, and our code is hashed."""
        return f"{BUILTIN} {self.size} {sys.version} {_generator_version()}"

    @property
    def changes(self) -> str:
        return self.identity(lambda *_: None)

    @cached_property
    def _texts(self) -> list[str]:
        texts = list(_up_to(round(_STDLIB_SHARE * self.size), stdlib_texts(_SEED)))
        missing = self.size - sum(_bytes(text) for text in texts)
        texts += _up_to(missing, generated_texts(_SEED))
        Random(_SEED).shuffle(texts)
        return texts


def generated_texts(seed: int) -> Iterator[str]:
    """Stories and sums without end, two to one."""
    for index in count():
        yield sums(seed, index) if index % 3 == 2 else story(seed, index)


class MixedText:
    """Several sources as one text; of the next two documents each source has its share.

    So the end of the text, which is for validation, has all of them.
    """

    def __init__(self, parts: Sequence[TextSource]) -> None:
        self._parts = parts
        self.notes = tuple(note for part in parts for note in part.notes)
        self.size = sum(part.size for part in parts)

    def identity(self, progress: Callable[[str, int, int], None]) -> str:
        return f"mixed {[part.identity(progress) for part in self._parts]}"

    @property
    def changes(self) -> str:
        return f"mixed {[part.changes for part in self._parts]}"

    def documents(self, skipped: Skipped) -> Iterator[str]:
        left_out = [Skipped() for _ in self._parts]
        streams = [part.documents(own) for part, own in zip(self._parts, left_out, strict=True)]
        read = [0.0] * len(streams)
        going = [*range(len(streams))]
        while going:
            at = min(going, key=read.__getitem__)
            document = next(streams[at], None)
            if document is None:
                going.remove(at)
                continue
            read[at] += _bytes(document) / max(self._parts[at].size, 1)
            yield document
        for number, own in enumerate(left_out):
            skipped.include(own, partial(self._file, number))

    def locate(self, bad: BadLine) -> str:
        file, number = divmod(bad.file, len(self._parts))
        return self._parts[number].locate(replace(bad, file=file))

    def _file(self, part: int, file: int) -> int:
        return file * len(self._parts) + part


def open_text(source: str | Source | Sequence[str | Source], builtin_mb: float) -> TextSource:
    """The text of one or several sources; DataError where there is none."""
    if isinstance(source, str | Source):
        given = Source.parse(source)
        return BuiltinText(builtin_mb) if given.path == BUILTIN else FileText.of(given)
    parts = [open_text(one, builtin_mb) for one in source]
    return parts[0] if len(parts) == 1 else MixedText(parts)


def _up_to(size: int, texts: Iterable[str]) -> Iterator[str]:
    """Texts of `size` bytes together; the one that would pass it is the first left out."""
    for text in texts:
        size -= _bytes(text)
        if size < 0:
            return
        yield text


def _bytes(text: str) -> int:
    return len(text.encode())


def _generator_version() -> str:
    data = Path(__file__).parents[1]
    return version_of(path for pattern in _GENERATOR for path in sorted(data.glob(pattern)))


if __name__ == "__main__":
    builtin = open_text(BUILTIN, builtin_mb=0.8)
    found = list(builtin.documents(Skipped()))
    print(builtin.identity(lambda *_: None))
    print(f"{len(found)} documents, {sum(map(_bytes, found)) / 1e6:.2f} MB")
    assert found == list(BuiltinText(0.8).documents(Skipped()))
    print("=== 自测通过 ===")
