"""Stands where pytest-xdist starts `python`: `forked_python.py SOCKET -u -c CODE`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from forked import Forked

if __name__ == "__main__":
    socket, *program = sys.argv[1:]
    program.remove("-u")
    worker = Forked(program, Path.cwd(), os.environ, streams=(0, 1, 2), server=socket)
    sys.exit(worker.wait(None))
