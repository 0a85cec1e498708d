"""Whether a process that was recorded by its id and its start is still there."""

from __future__ import annotations

import os


def process_lives(pid: int, started: float | None) -> bool:
    """Whether the process `pid` that began at `started`, in unix seconds, has not ended.

    An id may have been given to another process since. One that has ended but was not waited for,
    a zombie, does nothing any more. One that cannot be looked at is taken to live.
    """
    import psutil  # Runs that have ended, most of a list, do without.

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # Start times come from clock ticks; two readings differ by far less than this.
        return started is None or abs(process.create_time() - started) < 2.0
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False
    except psutil.Error:
        return True


if __name__ == "__main__":
    import psutil

    own = psutil.Process().create_time()
    print(process_lives(os.getpid(), own), process_lives(os.getpid(), own - 60))
    assert not process_lives(os.getpid(), 0.0) and not process_lives(-1, None)
    print("=== 自测通过 ===")
