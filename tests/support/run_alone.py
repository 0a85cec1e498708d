"""Runs module files as `python <file>` would, but pays for the imports only once.

The process imports all given modules, and forks a child that runs one file after
the other: it forgets the module and runs it as `__main__` with the file's folder first on
`sys.path`. A child that fails is the last file's; another one goes on after that. Prints one JSON
line a file: `{"file", "code", "seconds", "output"}`.
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
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

FILES_A_CHILD = 32
TIMEOUT_S = 600


def run_alone(files: Sequence[str]) -> int:
    """Run files in a forked child until one fails; how many were run.

    Prints for each how it ended and what it said.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile("w+") as ends:
        child = os.fork()
        if child == 0:
            report = os.fdopen(os.dup(ends.fileno()), "w")
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            for file in files:
                started = time.monotonic()
                code = become(file)
                sys.stdout.flush()
                sys.stderr.flush()
                seconds = round(time.monotonic() - started, 2)
                end = os.lseek(output.fileno(), 0, os.SEEK_CUR)
                print(json.dumps([code, seconds, end]), file=report, flush=True)
                if code:
                    break
            os._exit(0)
        died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        ends.seek(0)
        found = [json.loads(line) for line in ends]
        if died or not found:
            found.append([died or "left without a word", 0.0, None])
        said, begin = output.read(), 0
        for file, (code, seconds, end) in zip(files, found, strict=False):
            text = said[begin:end].decode("utf-8", "replace")
            report_of = {"file": file, "code": code, "seconds": seconds, "output": text}
            print(json.dumps(report_of), flush=True)
            begin = end
    return len(found)


def module_name(file: str) -> str:
    """By which the other modules import it."""
    parts = Path(file).with_suffix("").parts
    return ".".join(parts if parts[0] == "lmm_tui" else ("lmm_tui", *parts))


@contextlib.contextmanager
def forgotten(name: str) -> Iterator[None]:
    """For a while as if nobody had imported it; else later files would find two of its classes."""
    package, _, last = name.rpartition(".")
    known = sys.modules.pop(name, None)
    if known is not None:
        vars(sys.modules[package]).pop(last, None)
    try:
        yield
    finally:
        if known is not None:
            sys.modules[name] = known
            setattr(sys.modules[package], last, known)


def become(file: str) -> int:
    """Run `file` as the main program; its exit code. SIGALRM ends one that hangs."""
    signal.alarm(TIMEOUT_S)
    sys.argv = [file]
    sys.path[0] = str(Path(file).resolve().parent)
    try:
        with forgotten(module_name(file)):
            runpy.run_path(file, run_name="__main__")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    import_module("torch").set_num_threads(1)
    left = sys.argv[1:]
    for path in left:
        with contextlib.suppress(Exception):  # The child will say it.
            import_module(module_name(path))
    gc.disable()
    gc.freeze()  # Pages that no collection writes to stay shared with the children.
    while left:
        left = left[run_alone(left[:FILES_A_CHILD]) :]
