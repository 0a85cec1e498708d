"""TOML that may come from a stranger: whatever `tomllib` cannot take is one kind of error.

`tomllib` takes a time that grows with the square of the parts of a dotted key, raises
RecursionError for deep nesting, and a bare ValueError for an integer of thousands of digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lmm_tui.errors import LmmError

_MOST_PARTS = 100
_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![\w-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{_MOST_PARTS}}}")


class TomlError(LmmError, ValueError):
    """What is wrong with a text, and in which line if that is known."""


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises TomlError."""
    if found := _LONG_KEY.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise TomlError(
            "a key of more than {most} parts (at line {line})", most=_MOST_PARTS, line=line
        )
    import tomllib

    try:
        return tomllib.loads(text)
    except RecursionError:
        raise TomlError("nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise TomlError("{error}", error=error) from None
    except ValueError:  # Of `int`, about digits.
        raise TomlError("an integer of too many digits") from None


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested tables by dotted key, so that `lr` in `[optim]` is `optim.lr`."""
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{key}.")
        else:
            yield key, value


if __name__ == "__main__":
    print(dict(flat(parse_toml('[train]\nlr = 1e-3\n"a.b".c = "d.e"\n'))))
    for bad in (f"a{'.a' * 100_000} = 1", "a = " + "[" * 100_000, "a = " + "9" * 9999, "a = "):
        try:
            parse_toml(bad)
        except TomlError as refusal:
            print(refusal)
        else:
            raise AssertionError(bad[:9])
    print("=== 自测通过 ===")
