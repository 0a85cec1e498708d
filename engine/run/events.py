"""Events of a run: one line in events.jsonl each, also written to the engine's log."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lmm_tui.engine.run.control_mailbox import Reply, Request
from lmm_tui.engine.run.jsonl_writer import JsonlWriter
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.message import Message

Kind = Literal[
    "start",
    "resume",
    "checkpoint",
    "probe",
    "spike",
    "sample",
    "eval",
    "command",
    "alert",
    "error",
    "end",
]
Level = Literal["info", "warning", "error"]

log = logging.getLogger("engine")


class EventLog:
    """Writes the events of one run; thread-safe."""

    def __init__(self, run_dir: RunDir) -> None:
        self._writer = JsonlWriter(run_dir.events)

    def write(
        self, kind: Kind, message: str, *, step: int, level: Level = "info", **details: Any
    ) -> None:
        self._writer.write(
            {
                "time": round(time.time(), 3),
                "step": step,
                "kind": kind,
                "level": level,
                "message": message,
                **details,
            }
        )
        log.log(getattr(logging, level.upper()), "step %d: %s: %s", step, kind, message)

    def write_command(
        self, request: Request, reply: Reply, changes: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """A command and its result; `changes` are records of `SettingChange`."""
        self.write(
            "command",
            Message("{command}: {message}", command=request.command, message=reply.message)
            if reply.ok
            else reply.message,
            step=reply.step,
            level="info" if reply.ok else "warning",
            args=request.args,
            ok=reply.ok,
            **({"changes": list(changes)} if changes else {}),
        )

    def close(self) -> None:
        self._writer.close()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        events = EventLog(RunDir(folder))
        events.write("alert", "loss is NaN", step=12, level="warning", layer="layers.3")
        events.close()
        print(RunDir(folder).events.read_text())
    print("=== 自测通过 ===")
