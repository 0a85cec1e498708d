"""The language in which runs are filtered: `lr<1e-3 stage=sft tag=night fox`.

A word alone is looked for in everything that a list shows; `column OP value` compares, with `=`,
`!=`, `<`, `<=`, `>`, `>=`, and `~` for "contains". All of them must hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lmm_tui.errors import LmmError
from lmm_tui.runs.run_columns import RunColumns, Value
from lmm_tui.runs.run_list import ListedRun, searchable_text

_TERM = re.compile(r"([\w.]+)(<=|>=|!=|=|<|>|~)(.*)", re.DOTALL)
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}

ARCHIVED = "archived"
"""The tag of runs that a list leaves out, unless the filter asks for that tag."""


class FilterError(LmmError):
    """A filter that says nothing."""


@dataclass(frozen=True)
class FilterTerm:
    """`column operator value`; without a column, a word to look for."""

    column: str
    operator: str
    value: str


def parse(words: Sequence[str]) -> list[FilterTerm]:
    """The terms of a filter; FilterError for one that cannot be compared."""
    terms = []
    for word in words:
        found = _TERM.fullmatch(word)
        if found is None:
            terms.append(FilterTerm("", "~", word))
            continue
        column, operator, value = found.groups()
        if not value:
            raise FilterError(
                "{word}: nothing to compare {column} with; write {column}=VALUE",
                word=word,
                column=column,
            )
        if operator in _ORDER and _number(value) is None:
            raise FilterError(
                "{word}: {operator} compares numbers (got {value})",
                word=word,
                operator=operator,
                value=value[:40],
            )
        terms.append(FilterTerm(column, operator, value))
    return terms


def columns_of(words: Sequence[str]) -> list[str]:
    """The columns that a filter compares, as they are written."""
    return [term.column for term in parse(words) if term.column]


def asks_for_archived(words: Sequence[str]) -> bool:
    """Whether a filter looks at the archived runs as well."""
    return any(ARCHIVED in word for word in words)


def without_archived(runs: Sequence[ListedRun], words: Sequence[str]) -> list[ListedRun]:
    """The runs that a list with this filter looks at."""
    kept = asks_for_archived(words)
    return [run for run in runs if kept or ARCHIVED not in run.tags]


def filtered(
    runs: Sequence[ListedRun], words: Sequence[str], columns: RunColumns
) -> list[ListedRun]:
    """The runs for which every term holds."""
    terms = [
        FilterTerm(columns.known(term.column) if term.column else "", term.operator, term.value)
        for term in parse(words)
    ]
    return [run for run in runs if all(_holds(term, run, columns) for term in terms)]


def _holds(term: FilterTerm, run: ListedRun, columns: RunColumns) -> bool:
    if not term.column:
        return term.value.casefold() in searchable_text(run)
    if term.column == "tag" and term.operator in ("=", "!="):
        return (term.value in run.tags) == (term.operator == "=")
    found = columns.value(run, term.column)
    if term.operator in _ORDER:
        number = _number(found)
        wanted = _number(term.value)
        return number is not None and wanted is not None and _ORDER[term.operator](number, wanted)
    if term.operator == "~":
        return found is not None and term.value.casefold() in str(found).casefold()
    return _same(found, term.value) == (term.operator == "=")


def _same(found: Value, wanted: str) -> bool:
    if isinstance(found, bool):
        return str(found).lower() == wanted.lower()
    number, other = _number(found), _number(wanted)
    if number is not None and other is not None:
        return number == other
    return str(found if found is not None else "").casefold() == wanted.casefold()


def _number(value: Value) -> float | None:
    """None for what is no number, and for NaN, which compares with nothing."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return None if math.isnan(number) else number


if __name__ == "__main__":
    print(parse(["lr<1e-3", "stage=sft", "fox"]))
    for wrong in ("lr<fast", "stage="):
        try:
            parse([wrong])
            raise AssertionError
        except FilterError as refusal:
            print(refusal)
    print("=== 自测通过 ===")
