"""The arguments of a command by name and type, strictly: true is no number, 1 is not true."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lmm_tui.engine.run.control_mailbox import CommandError

_WORDS = {str: "a text", bool: "true or false", float: "a number"}
_LONGEST = 80


def require(args: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    """Raises CommandError for an argument that is not in `kinds`, or of another type.

    A kind is str, bool, or float for any number.
    """
    for name, value in args.items():
        if name not in kinds:
            raise CommandError(
                "unknown option {name}; it takes {kinds}"
                if kinds
                else "unknown option {name}; it takes none",
                name=name,
                kinds=[*kinds],
            )
        kind = kinds[name]
        if type(value) is not kind and not (kind is float and type(value) is int):
            given = json.dumps(value)[:_LONGEST]
            raise CommandError(
                "{name}: expected {words} (got {given})", name=name, words=_WORDS[kind], given=given
            )


if __name__ == "__main__":
    require({"lr": 1}, {"lr": float})
    for wrong in (None, True, "1", [1]):
        try:
            require({"lr": wrong}, {"lr": float})
            raise AssertionError
        except CommandError as refused:
            print(refused)
    print("=== 自测通过 ===")
