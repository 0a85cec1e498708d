"""Text of a log without what no page can show: control and format characters, and no characters."""

from __future__ import annotations


def printable(text: str) -> str:
    """Each such character as `\ufffd`; line ends stay. XML forbids most of them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


if __name__ == "__main__":
    print(printable("loss\x1b[2J \u202e小兔\x9b"))
    assert printable("小兔\n") == "小兔\n" and printable("\uffff\ud800") == "\ufffd\ufffd"
    print("=== 自测通过 ===")
