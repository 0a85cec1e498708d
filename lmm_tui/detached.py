"""An engine in a process and session of its own, which outlives the terminal that started it.

The child gets its configuration on stdin and answers with one JSON line, the run it opened or why
it could not; from then on the run directory is all there is between the two.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.rundir import RunDir
from lmm_errors import LmmError
from lmm_tui import terminal

if TYPE_CHECKING:
    from engine.config import RunConfig

_CHILD = "from lmm_tui.detached import serve; serve()"


class DetachError(LmmError):
    """An engine process that did not come up."""


@dataclass(frozen=True)
class Detached:
    """A run that trains in process `pid`."""

    run: RunDir
    pid: int


def start(config: RunConfig, resume: RunDir | None = None) -> Detached:
    """Start the engine and return once it owns its run directory.

    Raises DetachError with the engine's own words where it refused, as `EngineHost` does.
    """
    order = {"config": config.model_dump(), "resume": str(resume.path) if resume else None}
    # The child inherits the working directory, so relative paths mean the same there.
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
        encoding="utf-8",
    )
    assert child.stdin is not None and child.stdout is not None
    with child.stdin, child.stdout:
        child.stdin.write(json.dumps(order))
        child.stdin.close()
        line = child.stdout.readline()
    answer = json.loads(line) if line else {"error": "the engine process ended before it began"}
    if "error" in answer:
        child.wait()
        raise DetachError(answer["error"])
    return Detached(RunDir(answer["run"]), child.pid)


def serve() -> None:
    """Be the child: open the run, say so, train it to its end."""
    from engine.config import RunConfig
    from engine.host import EngineHost

    order = json.load(sys.stdin)
    resume = RunDir(order["resume"]) if order["resume"] else None
    try:
        host = EngineHost(RunConfig.model_validate(order["config"]), resume)
    except LmmError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(2)
    print(json.dumps({"run": str(host.run_dir.path)}), flush=True)
    terminal.leave(host.run_dir.output)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: host.stop())
    began = time.monotonic()
    host.start()
    while not host.join(1.0):
        pass  # A join without end would not let signal handlers run.
    if host.run_dir.read_status().step:
        from lmm_tui.last_words import last_words

        print(last_words(host.run_dir, time.monotonic() - began), flush=True)
    sys.exit(1 if host.error else 0)


if __name__ == "__main__":
    import tempfile

    from engine.config import resolve

    with tempfile.TemporaryDirectory() as folder:
        in_the_way = Path(folder) / "file"
        in_the_way.touch()
        try:
            start(resolve(assignments={"runs_dir": str(in_the_way)}))
        except DetachError as refusal:
            print(str(refusal).replace(folder, "…"))
        else:
            raise AssertionError
    print("=== 自测通过 ===")
