"""Our program as a process of its own, and waiting for what it does."""

import sys
import time
from collections.abc import Callable

PROGRAM = [sys.executable, "-c", "from lmm_tui.cli.main import main; main()"]


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Return once it holds; fail where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
