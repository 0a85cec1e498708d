"""The remote end of a mirror: sends a run's files as they change and takes commands, over stdio.

`ssh HOST lmm-tui serve-run PATH` runs it. It ends when its input is closed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import is_file, read_text, reading
from lmm_tui.message import Message
from lmm_tui.runs.remote.messages import GROWING, RemoteCommand, WireError, opening, order
from lmm_tui.runs.remote.protocol import MAX_ORDER, Sender

_EVERY_S = 0.2
_PART_BYTES = 1 << 18
_MOST_ORDERS = 8
"""That wait for the run at the same time; its socket has 16 clients at most."""


class RunServer:
    """Serves one run to one cockpit."""

    def __init__(self, path: Path, source: IO[bytes], target: IO[bytes]) -> None:
        """Raises RunDirError if `path` is not a run directory."""
        self._run = RunDir(path)
        self._run.read_info()
        self._reader = Reader(path)
        self._source = source
        self._sender = Sender(target)
        self._ended = threading.Event()
        self._orders = threading.Semaphore(_MOST_ORDERS)
        self._trouble = ""
        self._seen: dict[str, object] = {}
        self._offsets = dict.fromkeys(GROWING, 0)

    def serve(self) -> None:
        """Send changes until the other end closes, or until it or the run cannot be understood."""
        try:
            self._offsets |= opening(self._line() or b'{"have": {}}').have
            threading.Thread(target=self._listen, daemon=True).start()
            while not self._ended.is_set():
                self._send_changes()
                self._ended.wait(_EVERY_S)
        except WireError as error:
            self._trouble = _odd(error)
        except LmmError as error:
            self._trouble = str(error)
        except (OSError, ValueError):
            return  # The other end is closed.
        if self._trouble:
            with contextlib.suppress(OSError, ValueError):
                self._sender.send({"error": self._trouble})

    def _line(self) -> bytes:
        """The next line of the other end; empty once it is closed. Raises WireError."""
        line = self._source.readline(MAX_ORDER)
        if len(line) == MAX_ORDER:
            raise WireError("a line of more than {max_order} kB", max_order=MAX_ORDER >> 10)
        return line

    def _send_changes(self) -> None:
        info = read_text(self._run.info_file, self._run.path)
        self._send_new("run.json", info, {"text": info})
        self._send_status()
        for name in GROWING:
            self._send_growth(name)

    def _send_status(self) -> None:
        """Send the heartbeat's age, since clocks differ, and `crashed`, which only this machine can
        find out."""
        view = self._reader.look()
        status, state = view.status, view.state
        sent = status if state == "stale" else replace(status, state=state)
        record = asdict(replace(sent, heartbeat=0.0))
        age = time.time() - status.heartbeat
        self._send_new("status.json", (record, status.heartbeat), {"status": record, "age": age})

    def _send_new(self, name: str, seen: object, message: dict[str, Any]) -> None:
        if self._seen.get(name) != seen:
            self._seen[name] = seen
            self._sender.send({"file": name, **message})

    def _send_growth(self, name: str) -> None:
        """Send new whole lines; from the start if the file has become shorter."""
        path = self._run.path / name
        if not is_file(path, self._run.path):
            return
        with reading(path, self._run.path) as file:
            size = file.seek(0, 2)
            if size < self._offsets[name]:
                self._offsets[name] = 0
            file.seek(self._offsets[name])
            while data := file.read(_PART_BYTES):
                end = data.rfind(b"\n") + 1
                if not end and len(data) < _PART_BYTES:
                    return
                end = end or len(data)
                text = data[:end].decode("utf-8", "surrogateescape")
                at = self._offsets[name]
                self._sender.send({"file": name, "at": at, "add": text})
                self._offsets[name] += end
                file.seek(self._offsets[name])

    def _listen(self) -> None:
        try:
            while line := self._line():
                wanted = order(line)
                if self._orders.acquire(blocking=False):
                    threading.Thread(target=self._do, args=(wanted,), daemon=True).start()
                else:
                    self._answer(wanted, Reply(False, Message("too many commands wait; ask again")))
        except WireError as error:
            self._trouble = _odd(error)
        except (OSError, ValueError):
            pass  # The other end is closed.
        self._ended.set()

    def _do(self, wanted: RemoteCommand) -> None:
        try:
            reply = Reader(self._run.path).send(wanted.command, wanted.args)
        except LmmError as error:
            reply = Reply(False, str(error))
        finally:
            self._orders.release()
        self._answer(wanted, reply)

    def _answer(self, wanted: RemoteCommand, reply: Reply) -> None:
        try:
            self._sender.send({"id": wanted.id, "reply": asdict(reply)})
        except (OSError, ValueError):
            self._ended.set()


def _odd(error: WireError) -> str:
    return Message("the monitor sent {error}; update lmm-tui on both machines", error=error)


def refuse(error: LmmError, target: IO[bytes]) -> None:
    """Send the reason why there is nothing to serve."""
    Sender(target).send({"error": str(error)})


if __name__ == "__main__":
    from io import BytesIO

    target = BytesIO()
    refuse(RunDirError("runs/demo: no such run"), target)
    print(target.getvalue())
    print("=== 自测通过 ===")
