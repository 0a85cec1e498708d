"""How a source of data is named: `path:config@split#column`, its columns and its filter."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmm_tui.data.errors import DataError
from lmm_tui.data.text.row_fields import shape_of
from lmm_tui.data.text.row_filter import RowFilter
from lmm_tui.message import Message

_NAMED = re.compile(
    r"(?P<path>.+?)(?::(?P<config>[^@#:/\\\s]+))?(?:@(?P<split>[^@#/\s]+))?(?:#(?P<column>[^#/]+))?"
)
_ASKED = ("prompt", "conversations", "messages", "instruction")
"""Of these a row is read by one."""
_NEEDED = frozenset({"text", "messages", "prompt", "instruction", "output", "chosen", "rejected"})


@dataclass(frozen=True)
class Source:
    """Where rows or text are, and which of them."""

    path: str
    config: str = ""
    split: str = ""
    column: str = ""
    """After `#`: the one column that holds the text, the turns or the prompt."""
    columns: tuple[tuple[str, str], ...] = ()
    """(what it holds, name of the column), as `data.columns` has it."""
    filter: RowFilter | None = None

    @classmethod
    def parse(
        cls,
        given: str | Source,
        columns: Mapping[str, str] | None = None,
        chosen: RowFilter | None = None,
    ) -> Source:
        """A name as it is typed; what exists under the whole name is that."""
        if not isinstance(given, str):
            return given
        named = tuple((columns or {}).items())
        match = _NAMED.fullmatch(given)
        if match is None or not any(match.groups()[1:]) or _exists(given):
            return cls(given, columns=named, filter=chosen)
        path, config, split, column = (part or "" for part in match.groups())
        # A file's own name may have these marks, too.
        with_config = f"{path}:{config}" if config else path
        with_split = f"{with_config}@{split}" if split else with_config
        if with_split != path and _exists(with_split):
            path, config, split = with_split, "", ""
        elif config and _exists(with_config):
            path, config = with_config, ""
        return cls(path, config, split, column, columns=named, filter=chosen)

    def __str__(self) -> str:
        """As it is typed."""
        marks = ((":", self.config), ("@", self.split), ("#", self.column))
        return self.path + "".join(mark + part for mark, part in marks if part)

    def naming(self, role: str) -> Source:
        """With `column` as the column that holds `role`, for a reader of one kind of rows."""
        if not self.column:
            return self
        named = dict(self.columns) | {role: self.column}
        return replace(self, column="", columns=tuple(named.items()))

    @property
    def reading(self) -> str:
        """What of a row is read: part of the identity of the text; empty where all is default."""
        return repr((self.columns, self.filter.text if self.filter else "")) * self.is_special

    @property
    def is_special(self) -> bool:
        return bool(self.columns or self.filter)

    def renamed(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row with the named columns under the names that rows usually have."""
        if not self.columns:
            return row
        named = dict(self.columns)
        for role, column in named.items():
            if column not in row and role in _NEEDED:
                raise ValueError(
                    Message(
                        'no column "{column}", which data.columns.{role} names; {shape_of}',
                        column=column,
                        role=role,
                        shape_of=shape_of(row),
                    )
                )
        replaced = {*named, *named.values()}
        if replaced.intersection(_ASKED) and not named.keys().isdisjoint(_ASKED):
            replaced.update(_ASKED)
        rest = {key: value for key, value in row.items() if key not in replaced}
        return rest | {role: row[column] for role, column in named.items() if column in row}

    @property
    def read_columns(self) -> frozenset[str]:
        """Columns that are read beside those with usual names."""
        filtered = self.filter.columns if self.filter else ()
        return frozenset([column for _, column in self.columns]) | frozenset(filtered)


def refuse_two(path: Path, found: list[str], role: str) -> DataError:
    """Where two columns fit, and none is named."""
    listed = " and ".join(f'"{name}"' for name in found)
    return DataError(
        "data.source: {path}: the columns {listed} both fit; name one, such as "
        "--set data.columns.{role}={found}",
        path=path,
        listed=listed,
        role=role,
        found=found[0],
    )


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists() or any(glob.iglob(path, recursive=True))  # noqa: PTH207
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    for typed in ("corpus.txt", "owner/name:en@train#content", "s3://b/a.parquet#text", "a/b@test"):
        print(Source.parse(typed))
    demo = Source.parse("a.csv", {"prompt": "problem"})
    assert demo.renamed({"problem": "1 + 1?", "messages": []}) == {"prompt": "1 + 1?"}
    assert str(Source.parse("owner/name:en@train")) == "owner/name:en@train"
    print("=== 自测通过 ===")
