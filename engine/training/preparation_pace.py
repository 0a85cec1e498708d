"""How preparing data gets on, as a sentence: share, speed and time left."""

from __future__ import annotations

import time
from collections.abc import Callable

from lmm_tui.data.preparation.build import IN_BYTES
from lmm_tui.message import Message

_SETTLED_S = 1.0
"""Before that a speed says nothing."""


class PreparationPace:
    """Measures each activity from its first report, wherever that one began."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._activity = ""
        self._began = 0.0
        self._done = 0

    def sentence(self, activity: str, done: int, total: int) -> str:
        """Such as `tokenising 43%, 31.0 MB/s, 40 s to go`."""
        now = self._clock()
        if activity != self._activity:
            self._activity, self._began, self._done = activity, now, done
        if not total:
            return activity
        gained, elapsed = done - self._done, now - self._began
        if activity not in IN_BYTES or gained <= 0 or elapsed < _SETTLED_S:
            return Message("{activity} {done:.0%}", activity=activity, done=done / total)
        speed = gained / elapsed
        left = _duration((total - done) / speed)
        return Message(
            "{activity} {done:.0%}, {speed:.1f} MB/s, {left} to go",
            activity=activity,
            done=done / total,
            speed=speed / 1e6,
            left=left,
        )


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    moments = iter([0.0, 4.0])
    pace = PreparationPace(lambda: next(moments))
    print(pace.sentence("tokenising", 10_000_000, 100_000_000))
    said = pace.sentence("tokenising", 50_000_000, 100_000_000)
    print(said)
    assert said == "tokenising 50%, 10.0 MB/s, 5 s to go"
    print("=== 自测通过 ===")
