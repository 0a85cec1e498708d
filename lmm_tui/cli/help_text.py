"""A click help formatter for languages other than English.

Help texts of commands and options stay English in the code; the formatter translates them when
they are printed and wraps them by terminal cells, since a Chinese character takes two.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable

import click
from rich.cells import cell_len

from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.translate_messages import translate_range
from lmm_tui.terminal.safe_text import wrap

_AS_WRITTEN = "\b\n"
"""Click's mark for a paragraph that is not rewrapped."""
_PLACEHOLDERS = (mark("[OPTIONS]"), mark("[COMMAND] [ARGS]..."))
_KINDS = (
    mark("INTEGER RANGE"),
    mark("FLOAT RANGE"),
    mark("INTEGER"),
    mark("FLOAT"),
    mark("TEXT"),
    mark("PATH"),
)
_KIND = re.compile(rf" ({'|'.join(_KINDS)})$")


def paragraphs(text: str) -> list[str]:
    """Split a help text into the units of translation; only `\\b` paragraphs keep line breaks."""
    parts = inspect.cleandoc(text).split("\n\n")
    return [
        part.removeprefix(_AS_WRITTEN) if part.startswith(_AS_WRITTEN) else " ".join(part.split())
        for part in parts
    ]


class TranslatedHelp(click.HelpFormatter):
    """A help page in the chosen language."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        for placeholder in _PLACEHOLDERS:
            args = args.replace(placeholder, tr(placeholder))
        super().write_usage(prog, args, tr("Usage: "))

    def write_heading(self, heading: str) -> None:
        self.write(tr("{heading}:", heading=tr(heading)) + "\n")

    def write_text(self, text: str) -> None:
        for number, paragraph in enumerate(paragraphs(text)):
            if number:
                self.write_paragraph()
            translation = tr(paragraph)
            as_written = "\n" in translation
            lines = translation.split("\n") if as_written else wrap(translation, self._room())
            for line in lines:
                self.write(f"{self._margin()}{line}\n")

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        translated = [(_translate_term(term), _translate_help(text)) for term, text in rows]
        column = min(max(cell_len(term) for term, _ in translated), col_max) + col_spacing
        for term, text in translated:
            lines = wrap(text, max(self._room() - column, 10))
            gap = column - cell_len(term)
            beside = " " * gap + lines.pop(0) if gap >= col_spacing else ""
            self.write(f"{self._margin()}{term}{beside}".rstrip() + "\n")
            for line in lines:
                self.write(f"{self._margin()}{' ' * column}{line}\n")

    def _margin(self) -> str:
        return " " * self.current_indent

    def _room(self) -> int:
        return self.width - self.current_indent


def _translate_term(option: str) -> str:
    return _KIND.sub(lambda kind: f" {tr(kind[1])}", option)


def _translate_help(text: str) -> str:
    """The help of an option: `text (allowed range)  [what click adds]`."""
    text, bracket, added = text.partition("[") if text.startswith("[") else text.partition("  [")
    for word in (mark("default: "), mark("required")):
        added = added.replace(word, tr(word))
    translation = tr(text)
    if translation == text and text.endswith(")"):
        about, _, allowed = text[:-1].rpartition(" (")
        translation = tr("{help} ({allowed})", help=tr(about), allowed=translate_range(allowed))
    return f"{translation}{bracket}{added}"


if __name__ == "__main__":
    page = TranslatedHelp(width=60)
    page.write_usage("lmm-tui train", "[OPTIONS] RUN")
    page.write_dl([("--steps INTEGER", "Optimiser steps (whole number from 1 to 100)")])
    print(page.getvalue())
    print("=== 自测通过 ===")
