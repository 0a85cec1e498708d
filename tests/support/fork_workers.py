"""Collects the tests once, then forks pytest-xdist's workers: `fork_workers.py SOCKET ARGUMENTS`.

Each worker collects for itself, but all that the tests import, and the rewriting of their
assertions, is there already: four times ten seconds. `forked_python.py` is the `python` of xdist.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest
from fork_server import become, end_after, serve

_OWN_THREADS = Path("/proc/self/task")
"""Those of Linux, which tells of threads that Python does not know."""


def threads() -> list[str]:
    """The names of threads besides the main one and one that jemalloc ends before a fork."""
    if not _OWN_THREADS.exists():
        return []
    names = [(task / "comm").read_text().strip() for task in sorted(_OWN_THREADS.iterdir())]
    return [name for name in names[1:] if not name.startswith("jemalloc")]


if __name__ == "__main__":
    socket, *arguments = sys.argv[1:]
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # Its threads would be missing in the workers.
    # Without capture: what is imported may keep sys.stderr, which has to be open later.
    given = [*arguments, "--collect-only", "-qq", "-n0", "-s", "-p", "no:cacheprovider"]
    with contextlib.suppress(BaseException):  # The workers meet with it, too, and say it.
        pytest.main(given)
    lost = threads()
    request = serve(socket)
    if lost:
        sys.exit(f"a test module starts threads when it is imported, which no fork keeps: {lost}")
    end_after(become, request)
