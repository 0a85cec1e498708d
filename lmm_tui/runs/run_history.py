"""Events and samples of a run as they arrive; those of steps that a resume abandoned are marked.

A run that is resumed from step 94 trains from there again: what its files tell of later steps, from
before that resume, did not lead to the model that there is now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.message import with_messages
from lmm_tui.metrics.readers.json_lines import JsonlFollower

Record = dict[str, Any]

_MARK = "abandoned"


class RunHistory:
    """Call `poll`, then read `events` and `samples`, the oldest first."""

    def __init__(self, run_dir: RunDir) -> None:
        self.events: list[Record] = []
        self.samples: list[Record] = []
        self._files = JsonlFollower(run_dir.events), JsonlFollower(run_dir.samples)
        self._resumes: list[tuple[float, int]] = []
        """Time and step of each."""

    @property
    def bad_lines(self) -> int:
        """Lines that could not be read."""
        return sum(file.bad_lines for file in self._files)

    @property
    def behind(self) -> bool:
        """Whether there is more to read."""
        return any(file.behind for file in self._files)

    @property
    def resumes(self) -> int:
        """How many resumes are known."""
        return len(self._resumes)

    def poll(self, budget_s: float | None = None) -> tuple[list[Record], list[Record]]:
        """The events and samples that are new, read for about `budget_s` seconds each."""
        events, samples = (
            [with_messages(record) for record in file.poll(budget_s)] for file in self._files
        )
        found = list(_resumes_among(events))
        self._resumes += found
        for record in (*events, *samples):
            record.pop(_MARK, None)
        _mark([*events, *samples], self._resumes)
        if found:
            _mark([*self.events, *self.samples], found)
        self.events += events
        self.samples += samples
        return events, samples


def is_abandoned(record: Mapping[str, Any]) -> bool:
    """Whether a record of a `RunHistory` is of a step that was trained anew."""
    return record.get(_MARK) is True


def _resumes_among(events: Iterable[Record]) -> Iterable[tuple[float, int]]:
    for event in events:
        match event:
            case {"kind": "resume", "time": float() | int() as time, "step": int(step)}:
                yield float(time), step


def _mark(records: Iterable[Record], resumes: Sequence[tuple[float, int]]) -> None:
    """Mark the records of steps after one of these resumes, and from before it."""
    for record in records:
        match record:
            case {"time": float() | int() as time, "step": int(step)}:
                if any(time < when and step > at for when, at in resumes):
                    record[_MARK] = True


if __name__ == "__main__":
    records: list[Record] = [{"time": 1.0, "step": 90}, {"time": 2.0, "step": 200}]
    _mark(records, [(3.0, 94)])
    print([is_abandoned(record) for record in records])
    print("=== 自测通过 ===")
