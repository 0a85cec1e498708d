"""A plugin for pytest: what threads and timers do comes 0.3 s late, as on a busy machine.

`PYTHONPATH=tests/support pytest -p late_threads tests/lmm_tui/cockpit` finds tests that do not wait
for what they look at.
"""

import threading
import time
from concurrent.futures import thread as executor
from typing import Any

from textual.message_pump import MessagePump
from textual.timer import Timer

LATE_S = 0.3

_run_thread, _run_item = threading.Thread.run, executor._WorkItem.run
_set_timer = MessagePump.set_timer


def _late_thread(thread: threading.Thread) -> None:
    time.sleep(LATE_S)
    _run_thread(thread)


def _late_item(item: Any) -> None:
    time.sleep(LATE_S)
    _run_item(item)


def _late_timer(pump: MessagePump, delay: float, *args: Any, **options: Any) -> Timer:
    return _set_timer(pump, delay + LATE_S, *args, **options)


def pytest_collection_finish() -> None:
    threading.Thread.run = _late_thread  # type: ignore[method-assign]
    executor._WorkItem.run = _late_item
    MessagePump.set_timer = _late_timer  # type: ignore[method-assign, assignment]
