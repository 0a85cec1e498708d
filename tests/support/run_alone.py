"""Runs module files as `python <file>` would, but pays for the imports only once.

The process imports what is slow and all given modules, and forks a child for every file; the child
forgets this module and runs it as `__main__` with the file's folder first on `sys.path`. Prints one
JSON line a file: `{"file", "code", "seconds", "output"}`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import runpy
import signal
import sys
import tempfile
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

IMPORTED_ONCE = (
    "torch",
    "torch._dynamo",
    "matplotlib.figure",
    "textual.app",
    "textual.widgets",
    "pydantic",
)
TIMEOUT_S = 600


def run_alone(file: str) -> dict[str, Any]:
    """Run one file in a forked child; how it ended and what it said."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            become(file)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    seconds = round(time.monotonic() - started, 2)
    return {"file": file, "code": code, "seconds": seconds, "output": text}


def module_name(file: str) -> str:
    """By which the other modules import it."""
    parts = Path(file).with_suffix("").parts
    return ".".join(parts if parts[0] == "lmm_tui" else ("lmm_tui", *parts))


def forget(name: str) -> None:
    """As if nobody had imported it yet."""
    if sys.modules.pop(name, None) is not None:
        package, _, last = name.rpartition(".")
        vars(sys.modules[package]).pop(last, None)


def become(file: str) -> NoReturn:
    """Go on as the main program `file`; SIGALRM ends one that hangs."""
    signal.alarm(TIMEOUT_S)
    forget(module_name(file))
    sys.argv = [file]
    sys.path[0] = str(Path(file).resolve().parent)
    code = 0
    try:
        runpy.run_path(file, run_name="__main__")
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    for name in IMPORTED_ONCE:
        import_module(name)
    import_module("torch").set_num_threads(1)
    for path in sys.argv[1:]:
        with contextlib.suppress(Exception):  # The child will say it.
            import_module(module_name(path))
    gc.disable()
    gc.freeze()  # Pages that no collection writes to stay shared with the children.
    for path in sys.argv[1:]:
        print(json.dumps(run_alone(path)), flush=True)
