"""Forks a child for each program that it is asked to run: what is imported is imported once.

Not a test's: `forked.py` starts it and speaks with it. `python fork_server.py SOCKET` answers at
that path until its standard input ends. Each connection asks for one process, with JSON and the
files that are to be its standard streams, and is told its process id, then how it ended.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

EMPTY_PAGES = "LMM_TESTS_EMPTY_PAGES"
"""Set for children that are to draw no panels."""
SLOW_STEPS = "LMM_TESTS_SLOW_STEPS"
"""Set for children that are to train slowly."""


def serve(path: str) -> dict[str, Any]:
    """Answer until standard input ends; in a child, return what it is to run."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    asking: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as ready:
        for file in (0, listening, woken):
            ready.register(file, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj == 0:
                    os._exit(0)
                elif key.fileobj is woken:
                    woken.recv(100)
                    _tell_ends(asking)
                else:
                    connection, _ = listening.accept()
                    request, files = _asked(connection)
                    child = os.fork()
                    if child == 0:
                        signal.set_wakeup_fd(-1)
                        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                        for number, file in enumerate(files):
                            os.dup2(file, number)
                        for other in (*asking.values(), connection, listening, woken, wake):
                            other.close()
                    for file in files:
                        os.close(file)
                    if child == 0:
                        return request
                    asking[child] = connection
                    connection.sendall(f"{child}\n".encode())


def _asked(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    line, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while not line.endswith(b"\n"):
        line += connection.recv(1 << 20)
    request: dict[str, Any] = json.loads(line)
    for name in request["imports"]:
        import_module(name)
    gc.freeze()  # Children collect only what is theirs: the pages of the rest stay shared.
    return request, files


def _tell_ends(asking: dict[int, socket.socket]) -> None:
    while asking:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        with asking.pop(child) as connection:
            try:
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            except OSError:  # Nobody asks any more.
                continue


def become(request: dict[str, Any]) -> None:
    """Go on as `python <program> <arguments>` would, be it `-c CODE`, `-m MODULE` or a file."""
    if request["session"]:
        os.setsid()
        import_module("forked_children").fork_own_children(request["env"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Jobs in the background ignore it.
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["env"])
    if EMPTY_PAGES in os.environ:
        import_module("empty_pages").draw_empty_pages()
    if SLOW_STEPS in os.environ:
        import_module("slow_steps").slow_down()
    # What our own were opened for could have been another kind of file.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
    first, *arguments = request["program"]
    if first == "-c":
        code, *arguments = arguments
        sys.argv = ["-c", *arguments]
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        return
    if first == "-m":
        module, *arguments = arguments
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return
    sys.argv, sys.orig_argv = [first, *arguments], [sys.executable, first, *arguments]
    sys.path[0] = str(Path(first).parent)
    runpy.run_path(first, run_name="__main__")


def end_after(function: Callable[..., None], *args: Any) -> NoReturn:
    """End this process with `function` as Python does, but free nothing.

    To take apart all that it was forked with costs a second: each page is copied for it.
    """
    code: object = 0
    try:
        function(*args)
    except SystemExit as leaving:
        code = leaving.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException as error:
        sys.last_value = error  # Before the hook, as the interpreter does.
        sys.excepthook(type(error), error, error.__traceback__)
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # Nobody reads it, or it was closed.
            stream.flush()
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    os._exit(code or 0)  # type: ignore[arg-type]


if __name__ == "__main__":
    asked = serve(sys.argv[1])
    end_after(become, asked)
