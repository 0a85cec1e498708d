"""How often the dashboard looks at a run and redraws its charts.

Drawing is the expensive part, so charts are redrawn only as often as this thread keeps within a
small share of a core. Where the run trains in the same process the share is smaller still: with
all cores training, what the screen takes is taken from every training thread, since they wait for
the slowest.
"""

from __future__ import annotations

import time

from lmm_tui.terminal import capabilities

LOOK_EVERY_S = 0.25
LOOK_OVER_SSH_EVERY_S = 0.5
"""Where bytes count."""
LOOK_BESIDE_TRAINING_EVERY_S = 1.0
LOOK_AT_ENDED_EVERY_S = 1.0
"""An ended run may still be resumed."""

SHARE, SHARE_BESIDE_TRAINING = 0.03, 0.012
"""Of a core, for all that the screen does."""
LONGEST_REST_S, LONGEST_REST_BESIDE_TRAINING_S = 1.0, 4.0
"""However slow the machine, charts are never older than this."""


def look_period(*, active: bool, beside_training: bool) -> float:
    """Seconds between two looks at a run."""
    if not active:
        return LOOK_AT_ENDED_EVERY_S
    if beside_training:
        return LOOK_BESIDE_TRAINING_EVERY_S
    return LOOK_OVER_SSH_EVERY_S if capabilities.over_ssh() else LOOK_EVERY_S


class RedrawPacing:
    """Whether charts are out of date, and whether it is time to redraw them."""

    def __init__(self) -> None:
        self.stale = False
        self._drawn_at = 0.0
        self._spent_before = 0.0

    def start_drawing(self) -> None:
        self.stale = False
        self._drawn_at, self._spent_before = time.monotonic(), time.thread_time()

    def due(self, *, beside_training: bool) -> bool:
        """Whether this thread has kept within its share of a core since the last drawing."""
        share = SHARE_BESIDE_TRAINING if beside_training else SHARE
        longest = LONGEST_REST_BESIDE_TRAINING_S if beside_training else LONGEST_REST_S
        rest = (time.thread_time() - self._spent_before) / share
        return time.monotonic() - self._drawn_at >= min(rest, longest)


if __name__ == "__main__":
    pacing = RedrawPacing()
    pacing.start_drawing()
    while time.thread_time() - pacing._spent_before < 0.01:
        pass
    print(look_period(active=True, beside_training=True), pacing.due(beside_training=True))
    assert not pacing.due(beside_training=True)
    print("=== 自测通过 ===")
