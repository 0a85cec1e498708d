"""Events and samples of a run as they arrive; those of steps that a resume abandoned are marked.

A run that is resumed from step 94 trains from there again: what its files tell of later steps, from
before that resume, did not lead to the model that there is now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from lmm_tui.engine.run.events import RunEvent
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.samples import RunSample
from lmm_tui.message import with_messages
from lmm_tui.metrics.readers.json_lines import JsonlFollower

_Line = TypeVar("_Line", RunEvent, RunSample)
_Resume = tuple[float, int]
"""Time and step."""


class RunHistory:
    """Call `poll`, then read `events` and `samples`, the oldest first."""

    def __init__(self, run_dir: RunDir) -> None:
        self.events: list[RunEvent] = []
        self.samples: list[RunSample] = []
        self._event_file = JsonlFollower(run_dir.events)
        self._sample_file = JsonlFollower(run_dir.samples)
        self._odd_lines = 0
        self._resumes: list[_Resume] = []

    @property
    def bad_lines(self) -> int:
        """Lines that could not be read."""
        return self._event_file.bad_lines + self._sample_file.bad_lines + self._odd_lines

    @property
    def behind(self) -> bool:
        """Whether there is more to read."""
        return self._event_file.behind or self._sample_file.behind

    @property
    def resumes(self) -> int:
        """How many resumes are known."""
        return len(self._resumes)

    def poll(self, budget_s: float | None = None) -> tuple[list[RunEvent], list[RunSample]]:
        """The events and samples that are new, read for about `budget_s` seconds each."""
        lines = [with_messages(line) for line in self._event_file.poll(budget_s)]
        events = self._known(lines, [RunEvent.from_record(line) for line in lines])
        lines = self._sample_file.poll(budget_s)
        samples = self._known(lines, [RunSample.from_record(line) for line in lines])
        found = [(it.time, it.step) for it in events if it.kind == "resume" and it.step is not None]
        self._resumes += found
        events, samples = _marked(events, self._resumes), _marked(samples, self._resumes)
        if found:
            self.events[:] = _marked(self.events, found)
            self.samples[:] = _marked(self.samples, found)
        self.events += events
        self.samples += samples
        return events, samples

    def _known(self, lines: Sequence[object], read: Iterable[_Line | None]) -> list[_Line]:
        """Those that could be read; the others are counted."""
        known = [one for one in read if one is not None]
        self._odd_lines += len(lines) - len(known)
        return known


def _marked(lines: Iterable[_Line], resumes: Sequence[_Resume]) -> list[_Line]:
    """With those marked that are of a step after one of these resumes, and from before it."""
    return [
        replace(line, abandoned=True)
        if line.time and any(line.time < when and (line.step or 0) > at for when, at in resumes)
        else line
        for line in lines
    ]


if __name__ == "__main__":
    lines = [RunSample(90, time=1.0), RunSample(200, time=2.0)]
    print([sample.abandoned for sample in _marked(lines, [(3.0, 94)])])
    print("=== 自测通过 ===")
