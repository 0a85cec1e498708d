"""`--help` in another language than English, which click words and lays out itself.

Commands and options keep their English; here it is looked up as it is written, and broken into
lines by the cells that it takes. It knows no command.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable

import click
from rich.cells import cell_len

from lmm_tui.i18n import language
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.translate_messages import translate_range
from lmm_tui.terminal.safe_text import wrap

_AS_WRITTEN = "\b\n"
"""How click marks a paragraph whose lines stay as they are."""
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
    """A help text in the pieces that are translated: a line each, or lines that stay as written."""
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
            said = tr(paragraph)
            for line in said.split("\n") if "\n" in said else wrap(said, self._room()):
                self.write(f"{self._margin()}{line}\n")

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        said = [(_term(first), _meaning(second)) for first, second in rows]
        column = min(max(cell_len(first) for first, _ in said), col_max) + col_spacing
        for first, second in said:
            lines = wrap(second, max(self._room() - column, 10))
            gap = column - cell_len(first)
            beside = " " * gap + lines.pop(0) if gap >= col_spacing else ""
            self.write(f"{self._margin()}{first}{beside}".rstrip() + "\n")
            for line in lines:
                self.write(f"{self._margin()}{' ' * column}{line}\n")

    def _margin(self) -> str:
        return " " * self.current_indent

    def _room(self) -> int:
        return self.width - self.current_indent


def _term(option: str) -> str:
    return _KIND.sub(lambda kind: f" {tr(kind[1])}", option)


def _meaning(text: str) -> str:
    """The help of an option: limits of a setting in parentheses, what click adds in brackets."""
    text, bracket, added = text.partition("[") if text.startswith("[") else text.partition("  [")
    for word in (mark("default: "), mark("required")):
        added = added.replace(word, tr(word))
    said = tr(text)
    if said == text and text.endswith(")"):
        about, _, allowed = text[:-1].rpartition(" (")
        said = tr("{help} ({allowed})", help=tr(about), allowed=translate_range(allowed))
    return f"{said}{bracket}{added}"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    language.use("zh")
    page = TranslatedHelp(width=60)
    page.write_usage("lmm-tui train", "[OPTIONS] RUN")
    with page.section(mark("Options")):
        steps = "Optimiser steps (whole number from 1 to 100)  [default: 8]"
        page.write_dl([("--steps INTEGER", steps), ("--data TEXT", "Folder that holds the runs")])
    print(page.getvalue())
    assert "（1 到 100 的整数）  [默认：8]" in page.getvalue()
    assert all(cell_len(line) <= 60 for line in page.getvalue().splitlines())
    print("=== 自测通过 ===")
