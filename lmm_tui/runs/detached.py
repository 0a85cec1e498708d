"""An engine in a process and session of its own, which outlives the terminal that started it.

The child gets its configuration on stdin and answers with one JSON line, the run it opened or why
it could not; from then on the run directory is all there is between the two. With retries there
is a supervisor in between, which resumes a run whose engine crashed or was killed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.runs.shutdown import GRACE_S, leave_after
from lmm_tui.terminal import capabilities

if TYPE_CHECKING:
    from lmm_tui.engine.config.run_config import RunConfig

_CHILD = "from lmm_tui.runs.detached import serve; serve()"
_REFUSED = 2

Order = Mapping[str, Any]
"""What a child is to do: `config`, `resume` (a path or None), `retries`, `grace_s`."""


class DetachError(LmmError):
    """An engine process that did not come up."""


@dataclass(frozen=True)
class Detached:
    """A run that trains in process `pid`, or under a supervisor there."""

    run: RunDir
    pid: int


def start(
    config: RunConfig, resume: RunDir | None = None, *, retries: int = 0, grace_s: float = GRACE_S
) -> Detached:
    """Start the engine and return once it owns its run directory.

    It is resumed up to `retries` times where it crashes; `grace_s` is what SIGTERM leaves it.
    Raises DetachError with the engine's own words where it refused, as `EngineHost` does.
    """
    order = {
        "config": config.model_dump(),
        "resume": str(resume.path) if resume else None,
        "retries": retries,
        "grace_s": grace_s,
    }
    child, run = _spawn(order)
    return Detached(run, child.pid)


def serve() -> None:
    """Be the child: open the run, say so, train it to its end."""
    order = json.load(sys.stdin)
    sys.exit(_supervise(order) if order["retries"] else _train(order))


def _spawn(order: Order) -> tuple[subprocess.Popen[str], RunDir]:
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
    return child, RunDir(answer["run"])


def _supervise(order: Order) -> int:
    """Keep an engine going; the exit code of the last one."""
    try:
        child, run = _spawn({**order, "retries": 0})
    except DetachError as error:
        return _refuse(error)
    print(json.dumps({"run": str(run.path)}), flush=True)
    capabilities.leave(run.output)
    children = [child]
    asked: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        children[-1].send_signal(number)

    _on_signals(pass_on)
    for attempt in range(1, order["retries"] + 1):
        code = children[-1].wait()
        if asked or code in (0, _REFUSED):
            return code
        _say_that_it_goes_on(run, code, f"{attempt} of {order['retries']}")
        try:
            children.append(_spawn(_going_on(run, order))[0])
        except LmmError as error:
            print(error, file=sys.stderr, flush=True)
            return _REFUSED
    return children[-1].wait()


def _going_on(run: RunDir, order: Order) -> Order:
    """With the settings that the run has by now, and from its last intact checkpoint."""
    from lmm_tui.engine.config.resolve import resolve

    config = resolve(run.config).model_dump()
    return {**order, "config": config, "resume": str(run.path), "retries": 0}


def _say_that_it_goes_on(run: RunDir, code: int, attempt: str) -> None:
    from lmm_tui.engine.run.events import EventLog

    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else "crashed"
    events = EventLog(run)
    step = run.read_status().step
    text = f"the engine {how}; resuming, attempt {attempt}"
    events.write("alert", text, step=step, level="error")
    events.close()


def _train(order: Order) -> int:
    from lmm_tui.engine.config.run_config import RunConfig
    from lmm_tui.engine.training.run_host import EngineHost

    resume = RunDir(order["resume"]) if order["resume"] else None
    try:
        host = EngineHost(RunConfig.model_validate(order["config"]), resume)
    except LmmError as error:
        return _refuse(error)
    print(json.dumps({"run": str(host.run_dir.path)}), flush=True)
    capabilities.leave(host.run_dir.output)

    def stop(number: int, frame: FrameType | None) -> None:
        host.stop()
        if number == signal.SIGTERM:
            leave_after(order["grace_s"])

    _on_signals(stop)
    began = time.monotonic()
    host.start()
    while not host.join(1.0):
        pass  # A join without end would not let signal handlers run.
    if host.run_dir.read_status().step:
        from lmm_tui.runs.run_summary import end_summary

        words = end_summary(host.run_dir, time.monotonic() - began)
        capabilities.say(words, host.run_dir.output)
    if host.refused:
        return _REFUSED
    return 1 if host.error else 0


def _refuse(error: LmmError) -> int:
    print(json.dumps({"error": str(error)}), flush=True)
    return _REFUSED


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.config.resolve import resolve

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
