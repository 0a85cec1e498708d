"""Numbers in digits three lines high, drawn with the characters of boxes."""

from __future__ import annotations

_DIGITS = {
    "0": ("╭─╮", "│ │", "╰─╯"),
    "1": ("╶╮ ", " │ ", "╶┴╴"),
    "2": ("╶─╮", "╭─╯", "╰─╴"),
    "3": ("╶─╮", " ─┤", "╶─╯"),
    "4": ("╷ ╷", "╰─┤", "  ╵"),
    "5": ("╭─╴", "╰─╮", "╶─╯"),
    "6": ("╭─╴", "├─╮", "╰─╯"),
    "7": ("╶─╮", "  │", "  ╵"),
    "8": ("╭─╮", "├─┤", "╰─╯"),
    "9": ("╭─╮", "╰─┤", "╶─╯"),
    "-": ("  ", "──", "  "),
    ".": (" ", " ", "."),
    ",": (" ", " ", ","),
}
HEIGHT = 3


def big_digits(text: str) -> tuple[str, str, str]:
    """The three lines of a number; what is no digit stands small on the last line."""
    lines = ["", "", ""]
    for character in text:
        shape = _DIGITS.get(character, (" ", " ", character))
        lines = [line + part for line, part in zip(lines, shape, strict=True)]
    return lines[0], lines[1], lines[2]


if __name__ == "__main__":
    for number in ("4.482", "2.9e-3", "NaN"):
        print(*big_digits(number), sep="\n")
        assert len({len(line) for line in big_digits(number)}) == 1
    print("=== 自测通过 ===")
