"""The time limit for the checkpoint after SIGTERM.

Schedulers send SIGKILL some time after SIGTERM, so the process must exit before that.
"""

from __future__ import annotations

import os
import signal
import threading

GRACE_S = 30.0
"""Default time between SIGTERM and the exit, in seconds."""

TERMINATED = 128 + signal.SIGTERM
"""Exit code."""


def leave_after(seconds: float) -> threading.Timer:
    """Exit this process after `seconds` unless the returned timer is cancelled.

    Safe at any time: a checkpoint is renamed into place only when it is complete.
    """
    timer = threading.Timer(seconds, os._exit, [TERMINATED])
    timer.daemon = True
    timer.start()
    return timer


if __name__ == "__main__":
    timer = leave_after(GRACE_S)
    timer.cancel()
    print(f"would have exited after {timer.interval:.0f} s")
    print("=== 自测通过 ===")
