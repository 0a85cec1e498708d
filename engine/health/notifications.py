"""Notifications of alerts: a JSON POST to a webhook, or a shell command with the JSON as input.

They are delivered in a thread. A failure is reported once, until a delivery succeeds again.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable

from lmm_tui.engine.health.webhook import NotificationError, Webhook
from lmm_tui.message import Message

_QUEUE_SIZE = 64
_COMMAND_S = 60.0
_CLOSE_S = 5.0
_KEPT = 4096
"""Bytes of what a command says on stderr."""


class Notifier:
    """Delivers texts in order; no effect without webhook and command."""

    def __init__(
        self, webhook: str | None, command: str | None, tell_failure: Callable[[str], None]
    ) -> None:
        """`tell_failure` is called in the delivery thread, with one sentence."""
        self._channels: list[tuple[str, Callable[[bytes], None]]] = []
        if webhook:
            self._channels.append(("health.webhook", Webhook(webhook).post))
        if command:
            self._channels.append(("health.command", lambda text: _run(command, text)))
        self._tell_failure = tell_failure
        self._failing: set[str] = set()
        self._queue: queue.Queue[str | None] = queue.Queue(_QUEUE_SIZE)
        self._thread = threading.Thread(target=self._deliver_all, name="notifications", daemon=True)
        if self._channels:
            self._thread.start()

    def send(self, text: str) -> None:
        """Queue a text for delivery without blocking; dropped if 64 are pending."""
        if self._channels and not self._queue.full():
            self._queue.put(text)

    def close(self) -> None:
        """Wait up to five seconds for pending deliveries."""
        if self._channels and not self._queue.full():
            self._queue.put(None)
            self._thread.join(_CLOSE_S)

    def _deliver_all(self) -> None:
        while (text := self._queue.get()) is not None:
            for name, deliver in self._channels:
                try:
                    deliver(text.encode())
                    self._failing.discard(name)
                except (NotificationError, OSError) as error:
                    if name not in self._failing:
                        self._tell_failure(Message("{name}: {error}", name=name, error=error))
                    self._failing.add(name)


def _run(command: str, text: bytes) -> None:
    with tempfile.TemporaryFile() as said:
        shell = subprocess.Popen(
            command,
            shell=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        try:
            shell.communicate(text, _COMMAND_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
            raise NotificationError(
                "took more than {command_s:.0f} s; let it end sooner", command_s=_COMMAND_S
            ) from None
        if shell.returncode:
            said.seek(max(0, said.seek(0, os.SEEK_END) - _KEPT))
            printed = said.read().decode("utf-8", "replace").strip().splitlines()
            raise NotificationError(
                "ended with {code} ({why}); try it in a shell"
                if printed
                else "ended with {code}; try it in a shell",
                code=shell.returncode,
                why=printed[-1][:200] if printed else "",
            )


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        notifier = Notifier(None, f"cat > {folder}/got; exit 3", print)
        notifier.send('{"rule": "loss_spike"}')
        notifier.close()
    print("=== 自测通过 ===")
