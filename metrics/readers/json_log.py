"""Rows of other programs' logs in JSON: an object a line, or a document that holds a history.

A row is an object of numbers with a step or an epoch under one of the names that are known. Nested
objects are flattened, numbers as text are numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lmm_tui.metrics.readers.json_lines import parse
from lmm_tui.metrics.readers.log_row import LogRow
from lmm_tui.metrics.readers.metric_names import (
    EPOCHS,
    SPLITS,
    STEPS,
    TIMES,
    TOTALS,
    common_names,
    normal,
    split_of,
)
from lmm_tui.metrics.readers.text_numbers import number_in, unix_seconds, whole_number
from lmm_tui.metrics.series.row_values import number, whole_step

_SUMMARY = "train_runtime"
"""Is in the last row of Hugging Face's Trainer, whose `train_loss` is a mean over all its steps."""

_LONGEST_LIST = 8
_NO_METRICS = ("id", "name", "version", "host", "date", "seed", "commit", "uuid", "pid")


@dataclass(frozen=True)
class RowKeys:
    """Which keys of a row are its position; all others may be metrics."""

    step: str | None
    epoch: str | None
    time: str | None
    split: str | None
    total: str | None
    tokens: str | None
    """In rows as we write them."""

    @classmethod
    def among(cls, keys: Iterable[str]) -> RowKeys:
        by_name: dict[str, str] = {}
        for key in keys:
            by_name.setdefault(normal(key), key)

        def first(names: Iterable[str]) -> str | None:
            return next((by_name[name] for name in names if name in by_name), None)

        ours = any(key.startswith(("train/", "val/")) for key in by_name.values())
        tokens = "tokens" if ours and "tokens" in by_name.values() else None
        return cls(first(STEPS), first(EPOCHS), first(TIMES), first(SPLITS), first(TOTALS), tokens)


class RecordLines:
    """Turns objects into rows; objects with the same keys are looked at once."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, ...], RowKeys] = {}

    def row(self, found: Mapping[str, Any]) -> LogRow | None:
        """The row in an object; one without values where it is a summary; None without a place."""
        if any(isinstance(value, dict | list) for value in found.values()):
            found = flat(found)
        shape = tuple(found)
        keys = self._keys.get(shape)
        if keys is None:
            keys = self._keys[shape] = RowKeys.among(shape)
        if _SUMMARY in found:
            return LogRow(step=0, is_summary=True)
        row = self._placed(keys, found)
        if row.step is None and row.epoch is None:
            return None
        rest = {name: value for name, value in found.items() if name not in (keys.step, keys.epoch)}
        if keys.tokens is not None:
            row.tokens = number(rest.pop(keys.tokens))
        if keys.time is not None:
            row.time = time_in(rest[keys.time])
            if row.time is not None:
                del rest[keys.time]
        if keys.split is not None and isinstance(said := rest[keys.split], str):
            row.split = "val" if split_of(said) == "val" else ""
            if row.split and row.epoch is not None and keys.step == "iter":
                row.step = None  # MMCV counts the batches of the validation here.
        for name, given in rest.items():
            value = given if type(given) is float else value_in(name, given)
            if value is not None:
                row.values[name] = value
        return row

    def _placed(self, keys: RowKeys, found: Mapping[str, Any]) -> LogRow:
        row = LogRow()
        if keys.step is not None:
            row.step = step_in(found[keys.step])
        if keys.epoch is not None:
            row.epoch = value_in(keys.epoch, found[keys.epoch])
        if keys.total is not None:
            row.total_steps = total_in(found[keys.total])
        row.is_last = row.step is not None and row.step == row.total_steps
        return row


def flat(found: Mapping[str, Any], most: int = 4) -> dict[str, Any]:
    """The object with nested names joined by a dot; lists of one value are that value,
    and the numbers of short ones are counted from 0."""
    result: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, dict) and most:
            for inner, nested in flat(value, most - 1).items():
                result[f"{name}.{inner}"] = nested
        elif isinstance(value, list):
            if len(value) == 1 and not isinstance(value[0], dict | list):
                result[str(name)] = value[0]
            elif len(value) <= _LONGEST_LIST and all(number(one) is not None for one in value):
                result |= {f"{name}.{at}": one for at, one in enumerate(value)}
        else:
            result[str(name)] = value
    return result


def value_in(name: str, given: object) -> float | None:
    """A measured value, also where it is text."""
    value = number(given)
    if value is None and isinstance(given, str) and given and given[-1:] not in ":-":
        if normal(name) in common_names() or normal(name) in EPOCHS:
            return number_in(given, name)
        if normal(name).replace("/", " ").rsplit(" ", 1)[-1] not in _NO_METRICS:
            try:
                return None if "_" in given else float(given)
            except ValueError:
                return None
    return value


def step_in(given: object) -> int | None:
    """A step, also where it is text, such as `10/100`."""
    if isinstance(given, str) and "/" in given:
        given = given.partition("/")[0]
    return whole_number(given) if isinstance(given, str) else whole_step(given)


def total_in(given: object) -> float | None:
    """How many steps there are to be, also behind the step, as in `10/100`."""
    if isinstance(given, str):
        return whole_number(given.rpartition("/")[2])
    return number(given)


def time_in(given: object) -> float | None:
    """Unix seconds of a number or of a date with its zone."""
    if isinstance(given, str):
        try:
            at = datetime.fromisoformat(given)
        except ValueError:
            found = number_in(given)
            return None if found is None else unix_seconds(found)
        return at.timestamp() if at.tzinfo else None
    value = number(given)
    return None if value is None else unix_seconds(value)


class JsonLog:
    """An object a line."""

    def __init__(self) -> None:
        self._records = RecordLines()

    def columns(self, lines: list[bytes]) -> None:
        """Rows are read one by one."""

    def rows(self, lines: list[bytes]) -> tuple[list[LogRow], int]:
        rows, bad = [], 0
        for line in lines:
            if not line or line.isspace():
                continue
            found = parse(line)
            row = None if found is None else self._records.row(found)
            if row is not None:
                rows.append(row)
            else:
                bad += found is None or not _is_header(found)
        return rows, bad


def is_object(line: bytes) -> bool:
    """Whether a line is a whole object."""
    return parse(line) is not None


def _is_header(found: Mapping[str, Any]) -> bool:
    """Whether an object is a description of the run, such as MMEngine begins its logs with."""
    return not any(normal(name) in common_names() for name in found)


def history_in(document: object) -> list[dict[str, Any]] | None:
    """The rows of a document: `log_history` of Hugging Face, a list of objects, lists by name."""
    if isinstance(document, list):
        return [row for row in document if isinstance(row, dict)] or None
    if not isinstance(document, dict):
        return None
    for value in (document.get("log_history"), *document.values()):
        if isinstance(value, list) and any(_is_row(row) for row in value):
            return [row for row in value if isinstance(row, dict)]
    columns = {
        name: value
        for name, value in document.items()
        if isinstance(value, list) and value and all(number(one) is not None for one in value)
    }
    if columns and any(normal(name) in common_names() for name in columns):
        length = max(map(len, columns.values()))
        table = [
            {name: values[at] for name, values in columns.items() if at < len(values)}
            for at in range(length)
        ]
        keys = RowKeys.among(columns)
        has_place = keys.step is not None or keys.epoch is not None
        return table if has_place else [{"epoch": at, **row} for at, row in enumerate(table, 1)]
    return None


def _is_row(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    keys = RowKeys.among(map(str, value))
    return keys.step is not None or keys.epoch is not None


def document_in(text: str) -> object:
    """The document that a text is, or the list of the documents that follow each other in it.

    Raises ValueError where it is none; what is torn at the end is left out.
    """
    read = json.JSONDecoder().raw_decode
    documents: list[object] = []
    at = 0
    while True:
        while at < len(text) and (text[at].isspace() or text[at] == ","):
            at += 1
        if at == len(text):
            break
        try:
            found, at = read(text, at)
        except (ValueError, RecursionError) as error:
            if documents:
                break
            raise ValueError from error
        documents.append(found)
    if not documents:
        raise ValueError
    return documents[0] if len(documents) == 1 else documents


if __name__ == "__main__":
    log = JsonLog()
    found, broken = log.rows([b'{"current_steps": "1,000", "train": {"loss": "1.25"}, "lr": null}'])
    print(found, broken)
    assert found[0].step == 1000 and found[0].values == {"train.loss": 1.25}
    assert history_in({"loss": [3, 2], "val_loss": [4, 3]}) == [
        {"epoch": 1, "loss": 3, "val_loss": 4},
        {"epoch": 2, "loss": 2, "val_loss": 3},
    ]
    print("=== 自测通过 ===")
