"""The items of a source, whatever kind of rows it has: text, conversations, pairs or prompts."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from lmm_tui.data.builtin.task import KINDS
from lmm_tui.data.chat.answers import answered, pair_conversations
from lmm_tui.data.chat.conversations import read_conversations
from lmm_tui.data.chat.labelled import LabelledRow, read_labelled
from lmm_tui.data.chat.preferences import read_pairs
from lmm_tui.data.chat.prompts import read_prompts
from lmm_tui.data.text.containers import CSV, TABLES, TEXT, TSV, format_of
from lmm_tui.data.text.corpus import BUILTIN, TextSource, open_text
from lmm_tui.data.text.csv_rows import CsvRows
from lmm_tui.data.text.dataset import Dataset
from lmm_tui.data.text.json_rows import JsonError, Skipped, json_array, json_lines, starts_array
from lmm_tui.data.text.locate import locate
from lmm_tui.data.text.open_files import opened
from lmm_tui.data.text.source import Source
from lmm_tui.data.text.tables import open_table
from lmm_tui.data.turns import Conversation, Pair, Prompt, Turn

Kind = Literal["text", "conversations", "pairs", "labelled", "prompts"]
KINDS_OF_DATA: tuple[str, ...] = get_args(Kind)
_READERS: dict[str, Any] = {
    "conversations": read_conversations,
    "pairs": read_pairs,
    "labelled": read_labelled,
    "prompts": read_prompts,
}


@dataclass(frozen=True)
class Item:
    """A document or a row."""

    text: str
    """All of it, as plain text."""
    asked: tuple[str, ...] = ()
    """The prompts in it."""
    talks: tuple[Conversation, ...] = ()
    """What the model reads of it in a chat stage: one, or the two of a pair."""
    told: tuple[str, ...] = ()
    """Of each of `talks`: chosen or rejected, good or bad, or the right answer to a prompt."""


class Samples:
    """A pass over the items of a source; what is left out is known at its end."""

    def __init__(self, source: Source, kind: str, builtin_mb: float) -> None:
        self.kind = kind
        self._text: TextSource | None = None
        self._rows: Dataset[Any] | None = None
        self._skipped = Skipped()
        if kind == "text":
            self._text = open_text(source, builtin_mb)
        else:
            read = _READERS[kind]
            self._rows = read(source, side="train", val_fraction=0.0, kinds=KINDS)

    def __iter__(self) -> Iterator[Item]:
        if self._rows is not None:
            yield from map(_item, self._rows)
        elif self._text is not None:
            self._skipped = Skipped()
            for document in self._text.documents(self._skipped):
                yield Item(document)

    @property
    def skipped(self) -> Skipped:
        return self._rows.skipped if self._rows is not None else self._skipped

    @property
    def skipped_rows(self) -> tuple[str, ...]:
        """`file:row: why` of the first that were left out."""
        if self._rows is not None:
            return self._rows.skipped_rows
        assert self._text is not None
        return tuple(self._text.locate(bad) for bad in self._skipped.first)


def questions_of(source: Source, builtin_mb: float = 1.0) -> Iterator[str]:
    """The questions of a file of test questions: a column `question`, else prompts, else text."""
    columns = columns_of(source)
    if "question" in columns and not source.columns:
        source = replace(source, columns=(("text", "question"),))
        columns = {"text": "text"}
    for item in Samples(source, kind_of([*columns]), builtin_mb):
        yield from item.asked or (item.text,)


def kind_of(columns: Sequence[str], named: Sequence[str] = ()) -> str:
    """The kind of rows with these columns; `named` are the keys of `data.columns`."""
    names = {*columns, *named}
    if {"chosen", "rejected"} <= names:
        return "pairs"
    if "kto_tag" in names or {"completion", "label"} <= names:
        return "labelled"
    if names & {"messages", "conversations", "instruction"}:
        return "conversations"
    return "prompts" if "prompt" in names and "text" not in names else "text"


def columns_of(source: Source) -> dict[str, str]:
    """The columns of the first file and their kinds, of JSON those of its first row."""
    if source.path == BUILTIN:
        return {}
    path = locate(source).paths[0]
    if format_of(path) == TEXT:
        return {}
    if format_of(path) in TABLES:
        with open_table(path) as table:
            return table.columns
    with opened(path) as file:
        if format_of(path) in (CSV, TSV):
            cells = CsvRows(file, path, "\t" if format_of(path) == TSV else ",")
            return dict.fromkeys(cells.columns, "text")
        skipped = Skipped()
        try:
            read = json_array if starts_array(file) else json_lines
            first = next(read(file, 0, lambda row: row, skipped), {})
        except JsonError:  # Reported by who reads it whole.
            return {}
    kinds = {str: "text", list: "list", dict: "object", bool: "bool", int: "number"}
    return {name: kinds.get(type(value), "number") for name, value in first.items()}


def _item(row: Conversation | Pair | LabelledRow | Prompt) -> Item:
    told: tuple[str, ...] = ()
    if isinstance(row, Pair):
        turns = row.prompt + row.chosen + row.rejected
        talks, told = tuple(pair_conversations(row)), ("chosen", "rejected")
    elif isinstance(row, tuple):
        turns = row[0].prompt + tuple(turn for one in row for turn in one.answer)
        talks = tuple(answered(one.prompt, one.answer) for one in row)
        told = tuple("good" if one.good else "bad" for one in row)
    else:
        turns, talks = row.turns, (Conversation(row.turns),)
        if isinstance(row, Prompt) and row.answer is not None:
            told = (row.answer,)
    return Item("\n".join(turn.content for turn in turns), _asked(turns), talks, told)


def _asked(turns: Sequence[Turn]) -> tuple[str, ...]:
    return tuple(turn.content for turn in turns if turn.role == "user")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "a.jsonl")
        demo.write_text(json.dumps({"prompt": "1?", "chosen": "2", "rejected": "3"}), "utf-8")
        names = columns_of(Source(str(demo)))
        print(names, kind_of([*names]))
        print(list(Samples(Source(str(demo)), kind_of([*names]), 1.0)))
        assert kind_of(["text", "prompt"]) == "text"
    print("=== 自测通过 ===")
