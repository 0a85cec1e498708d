"""What a reader of a log gives: rows with a position and values under the names of the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from lmm_tui.metrics.series.growing_array import Floats, Ints


@dataclass(slots=True)
class LogRow:
    """One record of a log, as it stands there."""

    values: dict[str, float] = field(default_factory=dict)
    step: int | None = None
    epoch: float | None = None
    time: float | None = None
    """Unix seconds."""
    tokens: float | None = None
    split: str = ""
    """`val` where all values are of validation."""
    steps_an_epoch: int | None = None
    """Where the log says it, beside the step."""
    in_epoch: bool = False
    """Whether the step surely counts from the start of the epoch."""
    counted: bool = False
    """Whether rows without a step are numbered, though they have an epoch."""
    total_steps: float | None = None
    """How many steps the run is to have, where the row says it."""
    is_last: bool = False
    """Whether it says itself that its step is the last one."""
    is_summary: bool = False
    """Whether it is what a program writes last, of the training as a whole, and no row of it."""


@dataclass
class Columns:
    """Rows with increasing steps, all at once."""

    steps: Ints
    epochs: Floats
    """NaN where unknown."""
    values: dict[str, tuple[Ints, Floats]] = field(default_factory=dict)
    """By the name in the log: which rows have a value, and the values."""
    total_steps: float | None = None
    steps_an_epoch: int = 0
    """Where the steps are counted within epochs: `steps` are those, and as many for each epoch."""
    counted: bool = False
    """Where rows have no step: `steps` number them, from those before on."""


class LineReader(Protocol):
    """Reads the lines of one log in order, without their ends."""

    def rows(self, lines: list[bytes]) -> tuple[list[LogRow], int]:
        """The rows on some lines, and how many of the lines were broken."""
        ...

    def columns(self, lines: list[bytes]) -> Columns | None:
        """The same as columns, where that can be done and is faster; else None."""
        ...


if __name__ == "__main__":
    print(LogRow({"loss": 2.5}, step=7, split="val"))
    print("=== 自测通过 ===")
