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
from fork_server import become, serve

if __name__ == "__main__":
    socket, *arguments = sys.argv[1:]
    with (
        Path(os.devnull).open("w") as unseen,
        contextlib.redirect_stdout(unseen),
        contextlib.suppress(BaseException),  # The workers meet with it, too, and say it.
    ):
        pytest.main([*arguments, "--collect-only", "-qq", "-n0", "-p", "no:cacheprovider"])
    become(serve(socket))
