"""Rows of what training programs print, line by line.

A line with a step or an epoch and numbers is a row. A line with numbers alone belongs to the step
or epoch before it, where it is indented or its names are known; so a record may have several lines.
The dictionaries of Hugging Face's Trainer have no step: it is that of the progress bar, or counted.
"""

from __future__ import annotations

import re

from lmm_tui.metrics.readers.console_pairs import cut_noise, pairs_in
from lmm_tui.metrics.readers.console_position import Position, cut_position
from lmm_tui.metrics.readers.log_row import LogRow
from lmm_tui.metrics.readers.metric_names import EPOCHS, STEPS, common_names, normal, split_of
from lmm_tui.metrics.readers.text_numbers import number_in
from lmm_tui.metrics.series.row_values import whole_step

LONGEST = 4096
"""Of a longer line only its beginning is read."""

_COLOURS = re.compile(
    r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])|\x08+"
)
_DICTIONARY = re.compile(r"\{\s*['\"][^{}]*\}")
_ITEM = re.compile(
    r"['\"](?P<name>[^'\"]+)['\"]\s*:\s*(?:['\"](?P<text>[^'\"]*)['\"]|(?P<bare>[^,'\"}]+))"
)
_SUMMARY = "train_runtime"
_SHORT = re.compile(r"^s:(?P<step>\d+) (?=te?l:|trl:|tr?l:)")
"""`s:100 trl:4.2 lr:0.001 norm:1.2` of llm.c's main.log."""
_POSITIONAL = re.compile(
    r"(?P<split>train|valid)\s+(?P<step>\d+)\s+(?P<loss>\d\.\d+e[+-]\d+|nan|inf)\s"
)
"""`train 050 2.3e+00 15.2 40.1` of DARTS."""
_LOSS_WORDS = ("loss", "ppl", "acc", "accuracy", "perplexity", "bpb", "score", "f1", "reward")


class ConsoleLog:
    """Keeps the position that was printed last."""

    def __init__(self) -> None:
        self._step: int | None = None
        self._epoch: float | None = None
        self._steps_an_epoch: int | None = None
        self._bar: tuple[int, int] | None = None
        self._split = ""

    def rows(self, lines: list[bytes]) -> tuple[list[LogRow], int]:
        """A line that is no row is text, not broken."""
        found = []
        for line in lines:
            row = self._row(line)
            if row is not None and row.values:
                found.append(row)
        return found, 0

    def _row(self, line: bytes) -> LogRow | None:
        text = line[:LONGEST].decode("utf-8", "replace")
        if "\x1b" in text or "\x08" in text:
            text = _COLOURS.sub("", text)
        if not any(map(str.isdigit, text)) and "nan" not in text and "inf" not in text.lower():
            return None
        if "{" in text and (found := _DICTIONARY.search(text)) is not None:
            return self._dictionary(found[0], text[: found.start()])
        if text.startswith("s:") and (short := _SHORT.match(text)) is not None:
            return LogRow(dict(pairs_in(text[short.end() :])), step=int(short["step"]))
        if (named := _POSITIONAL.search(text)) is not None:
            return self._positional(named)
        indented = text[:1] in " \t"
        at, rest = cut_position(cut_noise(text))
        values: dict[str, float] = {}
        for name, value in pairs_in(rest):
            values.setdefault(name, value)
        return self._place(at, values, indented)

    def _place(self, at: Position, values: dict[str, float], indented: bool) -> LogRow | None:
        """A row of a line, and what it says of the position remembered."""
        self._remember_bar(at)
        if at.epoch is not None and at.step is None and at.bar is None:
            self._step = None
        if at.epoch is not None:
            self._epoch = at.epoch
        if at.found:
            self._split = at.split
        step = at.step
        if step is None and at.bar is not None and values:
            step, at.steps_an_epoch = at.bar
        if at.in_epoch and at.split:
            step = None
        if step is not None and not at.split:
            self._step, self._steps_an_epoch = step, at.steps_an_epoch
        if not values:
            return None
        if not at.found:
            if not indented:
                values = {name: value for name, value in values.items() if _is_known(name)}
            return self._following(values, at.split or self._split)
        return LogRow(
            values,
            step=step,
            epoch=at.epoch if at.epoch is not None else self._epoch,
            split=at.split,
            steps_an_epoch=at.steps_an_epoch,
            in_epoch=at.in_epoch,
        )

    def _following(self, values: dict[str, float], split: str) -> LogRow | None:
        if self._step is None and self._epoch is None:
            return None
        step = None if split else self._step
        return LogRow(
            values,
            step=step,
            epoch=self._epoch,
            split=split,
            steps_an_epoch=self._steps_an_epoch if step is not None else None,
        )

    def _remember_bar(self, at: Position) -> None:
        """The bar of the training is the first one without a text before it."""
        if at.bar is None or at.described_bar:
            return
        if self._bar is None or self._bar[1] == at.bar[1]:
            self._bar = at.bar

    def _dictionary(self, text: str, before: str) -> LogRow | None:
        """A dictionary as Python or JSON prints it."""
        at, _ = cut_position(before)
        self._remember_bar(at)
        row = LogRow(counted=True)
        for item in _ITEM.finditer(text):
            name = item["name"]
            value = number_in(item["text"] if item["bare"] is None else item["bare"].strip(), name)
            if value is None:
                continue
            plain = normal(name)
            if plain in STEPS and (step := whole_step(value)) is not None:
                row.step = step
            elif plain in EPOCHS:
                row.epoch = value if abs(value) < 2**53 else None
            else:
                row.values[name] = value
        if _SUMMARY in row.values:
            return None
        if row.step is None:
            row.step = at.step if at.step is not None else self._bar[0] if self._bar else None
        if row.step is None and row.epoch is None:
            return None
        return row

    def _positional(self, found: re.Match[str]) -> LogRow | None:
        value = number_in(found["loss"])
        split = "val" if split_of(found["split"]) == "val" else ""
        if value is None:
            return None
        step = int(found["step"])
        if split:
            return LogRow({"loss": value}, epoch=self._epoch, split=split)
        return LogRow({"loss": value}, step=step, epoch=self._epoch)


def _is_known(name: str) -> bool:
    """Whether a number on a line of its own may be a metric of the step before."""
    plain = normal(name)
    return plain in common_names() or plain.replace("/", " ").rsplit(" ", 1)[-1] in _LOSS_WORDS


if __name__ == "__main__":
    console = ConsoleLog()
    printed = [
        b"Epoch:[2/2](100/900), loss: 6.125, lr: 0.0005, epoch_time: 3.0min",
        b"iter 100: loss 4.2000, time 12.50ms, mfu 3.10%",
        b"\x1b[31mstep:  1  \x1b[32mloss:  8.15\x1b[39m",
        b" 20%|##| 20/100 [00:10<00:20, 2.0it/s]{'loss': '4.8', 'epoch': '0.2'}",
        b"[step=3/1000,epoch=0]",
        b"    optim/total_grad_norm=1.5",
    ]
    rows, _ = console.rows(printed)
    print(*rows, sep="\n")
    assert [row.step for row in rows] == [100, 100, 1, 20, 3]
    print("=== 自测通过 ===")
