"""Rows out of single lines of other people's logs: JSON, CSV, and what programs print.

A parser turns one line into a row under our names or None; it knows no files. What means the same
as a metric of ours gets our name, every other name stays.
"""

from __future__ import annotations

import csv
import re
from typing import Protocol

from lmm_tui.metrics import names
from lmm_tui.metrics.readers.json_lines import parse
from lmm_tui.metrics.series.rows import Row
from lmm_tui.metrics.series.series import number, whole_step

OURS: dict[str, str] = {
    **dict.fromkeys(("loss", "train_loss", "train loss", "loss/train"), names.TRAIN_LOSS),
    **dict.fromkeys(
        ("eval_loss", "val_loss", "val loss", "eval/loss", "loss/val", "validation_loss"),
        names.VAL_LOSS,
    ),
    **dict.fromkeys(("learning_rate", "lr", "train/learning_rate"), names.LR),
    **dict.fromkeys(("grad_norm", "gradient_norm", "gnorm"), names.GRAD_NORM),
    **dict.fromkeys(("tokens_per_second", "tok/s", "tokens_per_s"), names.TOKENS_PER_S),
    "perplexity": names.TRAIN_PPL,
    "ppl": names.TRAIN_PPL,
    "train/epoch": "epoch",
}
"""What other programs call our metrics, and the epoch, in lower case."""

TAKEN = ("step", "time", "tokens")
"""Keys of a row that are no metrics with us; to others they may be, and get another name."""

STEPS = ("step", "global_step", "trainer/global_step", "_step", "iter", "iteration")
"""Names of the step, the likeliest first."""

TIMES = ("time", "_timestamp", "timestamp", "wall_time")


class LineParser(Protocol):
    """Reads the lines of one file in order."""

    def row(self, line: bytes) -> Row | None:
        """The row on a line, {} where it holds none by design, None where it is broken."""
        ...


def under_our_names(found: Row) -> Row | None:
    """A row as a store takes it, or None where nothing in it is a usable step.

    Only numbers are kept. Where two names mean the same metric, the first one counts.
    """
    by_name = {str(key).lower(): key for key in found}
    key = next((by_name[name] for name in STEPS if name in by_name), None)
    step = None if key is None else whole_step(found[key])
    if step is None:
        return None
    row: Row = {"step": step}
    at = next((by_name[name] for name in TIMES if name in by_name), None)
    for name, value in found.items():
        measured = None if name == key else number(value)
        if measured is None:
            continue
        if name == at:
            if measured > 1e8:  # else not unix seconds but how long something took
                row["time"] = measured
        else:
            row.setdefault(OURS.get(str(name).lower(), str(name)), measured)
    return row


class JsonLines:
    """An object a line."""

    def row(self, line: bytes) -> Row | None:
        found = parse(line)
        return None if found is None else under_our_names(found)


class CsvLines:
    """A header, then a row a line; empty cells are what was not measured."""

    def __init__(self) -> None:
        self._header: list[str] = []

    def row(self, line: bytes) -> Row | None:
        try:
            cells = next(csv.reader([line.decode("utf-8-sig", "replace")], strict=True), [])
        except csv.Error:
            return None
        if not self._header:
            self._header = cells
            return {}
        if len(cells) != len(self._header):
            return None
        return under_our_names(
            {
                name: value
                for name, cell in zip(self._header, cells, strict=True)
                if (value := _number_in(cell)) is not None
            }
        )


_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)"
_PAIR = re.compile(rf"['\"]?([A-Za-z_][\w/.\-]*)['\"]?\s*[:=]\s*['\"]?({_NUMBER})(?![\w.:])", re.I)
_SPACED = re.compile(rf"\b((?:train |val )?loss|iter|step|mfu|lr|norm) ({_NUMBER})(?![\w.])", re.I)
_EPOCH = re.compile(r"Epoch:\s*\[(\d{1,9})/\d+\]\s*\((\d{1,12})/(\d{1,12})\)")
_LONGEST = 4096


class ConsoleLines:
    """What training scripts print: MiniMind's `Epoch:[1/2](100/900), loss: 6.1, lr: 5e-4`,
    nanoGPT's `iter 100: loss 4.2`, and any line of `key: value` or `key=value` with a step.

    A line without a step is text, not broken.
    """

    def row(self, line: bytes) -> Row | None:
        text = line[:_LONGEST].decode("utf-8", "replace")
        found: Row = {}
        for pattern in (_PAIR, _SPACED):
            for match in pattern.finditer(text):
                found.setdefault(match[1], _number_in(match[2]))
        epoch = _EPOCH.search(text)
        if epoch:
            number_of, at, steps = map(int, epoch.groups())
            found["step"] = (number_of - 1) * steps + at
            found["epoch"] = number_of - 1 + at / max(steps, 1)
        row = under_our_names(found) or {}
        return row if len(row) > 1 else {}


def _number_in(text: str) -> float | int | None:
    """A number as text; ints stay ints, so that large steps keep their last digit."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


if __name__ == "__main__":
    console = ConsoleLines()
    for said in (
        b"Epoch:[2/2](100/900), loss: 6.125, logits_loss: 6.1, lr: 0.0005, epoch_time: 3.0min",
        b"iter 100: loss 4.2000, time 12.50ms, mfu 3.10%",
        b"step 250: train loss 2.1000, val loss 2.2000",
        b"{'loss': 1.5, 'grad_norm': 0.3, 'global_step': 7}",
        b"loading step by step",
    ):
        print(console.row(said))
    assert console.row(b"iter 100: loss 4.2") == {"step": 100, names.TRAIN_LOSS: 4.2}
    row = console.row(b"Epoch:[2/2](1/4), loss: 6.0")
    assert row == {"step": 5, "epoch": 1.25, names.TRAIN_LOSS: 6.0}
    print("=== 自测通过 ===")
