"""The tables of docs/json.md, and whether an answer of a command is as they say."""

import json
import re
from typing import Any

from processes import ROOT

PAGE = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
TABLES: dict[str, dict[str, str]] = {
    head: dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", body, re.MULTILINE))
    for head, body in re.findall(r"^## lmm-tui (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)
}
"""Types by key, by command."""


def fits(value: Any, kind: str) -> bool:
    if kind.startswith("list of "):
        inner = kind.removeprefix("list of ")
        return isinstance(value, list) and all(fits(one, inner) for one in value)
    if kind.startswith("object of "):
        inner = kind.removeprefix("object of ")
        return isinstance(value, dict) and all(fits(one, inner) for one in value.values())
    if kind.endswith(" or null"):
        return value is None or fits(value, kind.removesuffix(" or null"))
    if kind == "number":
        return type(value) in (int, float) or value in ("NaN", "Infinity", "-Infinity")
    known = {"integer": int, "string": str, "boolean": bool}
    return kind == "any" or type(value) is known[kind]


def _check(found: Any, table: dict[str, str]) -> None:
    """Every key is in the table with its type, and each of the table is there."""
    assert isinstance(found, dict)
    below: dict[str, dict[str, str]] = {}
    for key, kind in table.items():
        head, dot, rest = key.partition(".")
        if dot:
            below.setdefault(head, {})[rest] = kind
        else:
            assert fits(found[key], kind), (key, kind, found[key])
    for head, inner in below.items():
        value = found[head.removesuffix("[]")]
        assert not head.endswith("[]") or value, f"no {head} to look at"
        for one in value if head.endswith("[]") else [value]:
            _check(one, inner)
    assert {*found} == {key.partition(".")[0].removesuffix("[]") for key in table}


def check_printed(head: str, text: str) -> None:
    """Fail unless `lmm-tui HEAD` may print this."""
    found = json.loads(text)
    assert found
    table = TABLES.get(_OF_ANOTHER.get(head, ""), {}) | TABLES[head]
    if not table:
        assert head == "names --json" and fits(found, "object of list of string")
        return
    is_list = "A list of objects" in PAGE.split(f"## lmm-tui {head}\n")[1][:60]
    assert isinstance(found, list) == is_list
    for one in found if is_list else [found]:
        _check(one, table)


_OF_ANOTHER = {"runs --json": "status RUN --json", "spikes RUN STEP --json": "spikes RUN --json"}
"""Objects that have all keys of another command, too."""
