"""What a log says of its run beside the rows: how it ended, how many steps it was to have.

A log that says nothing of its end is neither running nor finished: only when it was written last is
known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LogEnd = Literal["", "finished", "failed", "crashed"]

_TRACEBACK = b"Traceback (most recent call last):"
_ERROR = re.compile(
    rb"^(?:\[rank\d+\]:\s?)?([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b.*)"
)
LAST_LINES = 200
"""A traceback stands among so many lines at the end of a log."""


@dataclass
class LogFacts:
    """Empty and 0 is what the log does not say."""

    end: LogEnd = ""
    error: str = ""
    total_steps: int = 0
    tells_end: bool = False
    """Whether a log of this format says that its run has ended: one that does not, crashed."""

    def expect(self, total: object) -> None:
        """Note how many steps there are to be, where that is a usable number."""
        if isinstance(total, int | float) and 0 < total <= 1 << 53:
            self.total_steps = int(total)


def failure_in(lines: Sequence[bytes]) -> tuple[int, str] | None:
    """Where the last traceback in some lines ends, and its last line; None where there is none."""
    begin = next((at for at in reversed(range(len(lines))) if _TRACEBACK in lines[at]), None)
    if begin is None:
        return None
    for at in range(begin + 1, len(lines)):
        found = _ERROR.match(lines[at])
        if found is not None:
            return at + 1, found[1].decode("utf-8", "replace").strip()[:300]
    return None


if __name__ == "__main__":
    printed = [b"step 1 loss 2", _TRACEBACK, b'  File "a.py", line 1', b"ValueError: no data", b""]
    print(failure_in(printed))
    assert failure_in(printed) == (4, "ValueError: no data") and failure_in(printed[:1]) is None
    print("=== 自测通过 ===")
