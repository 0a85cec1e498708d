"""Forks a child for each script that it is asked to run: what is imported is imported once.

Not a test's: `forked.py` starts it with a socket as its standard input and speaks with it.
"""

from __future__ import annotations

import json
import os
import runpy
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def serve(asked: socket.socket) -> dict[str, Any]:
    """Answer requests until nobody asks; in a child, return what it is to run."""
    while True:
        line, files, _, _ = socket.recv_fds(asked, 1 << 20, 2)
        if not line:
            sys.exit()
        request: dict[str, Any] = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            for name in request["imports"]:
                import_module(name)
            answer = os.fork()
            if answer == 0:
                for number, file in enumerate(files, start=1):
                    os.dup2(file, number)
                asked.close()
                return request
            for file in files:
                os.close(file)
        asked.sendall(json.dumps(answer).encode())


def become(request: dict[str, Any]) -> None:
    """Go on as `python <script> <arguments>` would."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["env"])
    script = request["script"]
    sys.argv, sys.orig_argv = [script, *request["args"]], [sys.executable, script, *request["args"]]
    sys.path[0] = str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    become(serve(socket.socket(fileno=os.dup(0))))
