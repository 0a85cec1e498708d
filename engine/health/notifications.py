"""Alerts to the outside, on request: a JSON POST to a URL, or a shell command with it as input.

In a thread of its own, so that nobody waits; what fails is said once, until something arrives.
It knows nothing of rules: a notice is a text.
"""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Callable

from lmm_tui.errors import LmmError

_WAITING = 64
_WEBHOOK_S = 10.0
_COMMAND_S = 60.0
_PATIENCE_S = 5.0


class NotificationError(LmmError):
    """A notice that did not arrive."""


class Notifier:
    """Delivers texts in order; with neither URL nor command it does nothing."""

    def __init__(
        self, webhook: str | None, command: str | None, tell_failure: Callable[[str], None]
    ) -> None:
        """`tell_failure` is called in the delivering thread, with one sentence."""
        self._ways: list[tuple[str, Callable[[bytes], None]]] = []
        if webhook:
            self._ways.append(("health.webhook", lambda text: _post(webhook, text)))
        if command:
            self._ways.append(("health.command", lambda text: _run(command, text)))
        self._tell_failure = tell_failure
        self._failing: set[str] = set()
        self._queue: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._deliver_all, name="notices", daemon=True)
        if self._ways:
            self._thread.start()

    def send(self, text: str) -> None:
        """Deliver a text soon; beyond 64 that wait it is dropped. Never blocks."""
        if self._ways and not self._queue.full():
            self._queue.put(text)

    def close(self) -> None:
        """Wait up to five seconds for what is on its way."""
        if self._ways and not self._queue.full():
            self._queue.put(None)
            self._thread.join(_PATIENCE_S)

    def _deliver_all(self) -> None:
        while (text := self._queue.get()) is not None:
            for name, deliver in self._ways:
                try:
                    deliver(text.encode())
                    self._failing.discard(name)
                except NotificationError as error:
                    if name not in self._failing:
                        self._tell_failure(f"{name}: {error}")
                    self._failing.add(name)


def _post(url: str, text: bytes) -> None:
    from urllib.request import Request, urlopen

    try:
        request = Request(url, text, {"Content-Type": "application/json"})
        with urlopen(request, timeout=_WEBHOOK_S):
            pass
    except (OSError, ValueError) as error:  # URLError and HTTPError are OSErrors.
        raise NotificationError(f"an alert did not arrive ({error}); check the URL") from None


def _run(command: str, text: bytes) -> None:
    try:
        done = subprocess.run(
            command, shell=True, input=text, capture_output=True, timeout=_COMMAND_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotificationError(f"took more than {_COMMAND_S:.0f} s; let it end sooner") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        why = f" ({said[-1][:200]})" if said else ""
        raise NotificationError(f"ended with {done.returncode}{why}; try it in a shell")


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        notices = Notifier(None, f"cat > {folder}/got; exit 3", failures.append)
        for _ in range(2):
            notices.send('{"rule": "loss_spike"}')
        notices.close()
        print((Path(folder) / "got").read_text(), failures)
    assert len(failures) == 1
    print("=== 自测通过 ===")
