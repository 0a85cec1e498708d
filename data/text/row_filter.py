"""`filter` of a source: comparisons of columns with fixed values, joined by `and`; nothing is run.

lang == "en"        score >= 3        lang in ["en", "zh"]        lang == "en" and score > 0.5
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from lmm_tui.data.errors import DataError

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "in": lambda value, given: value in given,
    "not in": lambda value, given: value not in given,
}
_TEXT = r'"(?:[^"\\]|\\.)*"|\'[^\']*\''
_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false"
_ONE = rf"(?:{_TEXT}|{_NUMBER})"
_VALUE = rf"{_ONE}|\[\s*{_ONE}(?:\s*,\s*{_ONE})*\s*\]"
_COMPARISON = re.compile(rf"\s*([\w.-]+)\s*(==|!=|<=|>=|<|>|not in\b|in\b)\s*({_VALUE})\s*")
_SINGLE = re.compile(r"'([^']*)'")
_LONGEST = 500


@dataclass(frozen=True)
class RowFilter:
    """Rows for which every comparison holds; a row without the column is left out."""

    text: str
    comparisons: tuple[tuple[str, str, Any], ...]

    @classmethod
    def parse(cls, text: str) -> RowFilter:
        """Raises DataError, with an example, where it is no such comparison."""
        found = []
        at = 0
        while match := _COMPARISON.match(text, at) if len(text) <= _LONGEST else None:
            column, how, written = match.groups()
            value = orjson.loads(_SINGLE.sub(lambda it: orjson.dumps(it[1]).decode(), written))
            if isinstance(value, list) != how.endswith("in"):
                break
            found.append((column, how, value))
            at = match.end()
            if at == len(text):
                return cls(text, tuple(found))
            if not text.startswith("and ", at):
                break
            at += len("and ")
        raise DataError(
            "data.sources: the filter {text!r} is no comparison; write such as "
            'lang == "en", score >= 3 or lang in ["en", "zh"], several joined by '
            '"and"',
            text=text,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for column, _, _ in self.comparisons))

    def keeps(self, row: Mapping[str, Any]) -> bool:
        return all(_holds(row.get(column), how, given) for column, how, given in self.comparisons)


def _holds(value: Any, how: str, given: Any) -> bool:
    if value is None:
        return False
    if isinstance(value, str) and _numbers(given):
        try:  # The cells of a CSV file are text.
            value = float(value)
        except ValueError:
            return how in ("!=", "not in")
    try:
        return _COMPARE[how](value, given)
    except TypeError:
        return False


def _numbers(given: Any) -> bool:
    values = given if isinstance(given, list) else [given]
    return all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)


if __name__ == "__main__":
    demo = RowFilter.parse("lang in ['en', \"zh\"] and score >= 0.5")
    print(demo.comparisons)
    assert demo.keeps({"lang": "zh", "score": 1}) and not demo.keeps({"lang": "zh", "score": 0})
    try:
        RowFilter.parse("__import__('os').system('x')")
    except DataError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
