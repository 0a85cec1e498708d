"""Work in a thread for a screen or the app, which gets the result as a message.

The threads are daemons: Textual waits for its workers when it ends, and a command to a run that
is in the middle of a long step would keep the app from leaving.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from textual.message import Message
from textual.message_pump import MessagePump

from lmm_tui.errors import LmmError


def run_in_background(
    target: MessagePump,
    name: str,
    work: Callable[[], Message],
    refused: Callable[[str], Message] | None = None,
) -> None:
    """Run `work` in a thread called `name` and post the message that it returns to `target`.

    With `refused` an LmmError or OSError is posted, too: as the message made of its sentence.
    """

    def run() -> None:
        try:
            message = work()
        except (LmmError, OSError) as error:
            if refused is None:
                raise
            message = refused(str(error))
        target.post_message(message)

    threading.Thread(target=run, name=name, daemon=True).start()


if __name__ == "__main__":
    from queue import Queue
    from types import SimpleNamespace

    inbox = Queue[Message]()
    run_in_background(SimpleNamespace(post_message=inbox.put), "demo", Message)  # type: ignore
    print(inbox.get(timeout=30))
    print("=== 自测通过 ===")
