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
    import asyncio
    from dataclasses import dataclass

    from textual.app import App

    @dataclass
    class Answered(Message):
        text: str

    class Demo(App[str]):
        def on_mount(self) -> None:
            run_in_background(self, "demo", self.fail, Answered)

        def fail(self) -> Answered:
            raise LmmError("the disk is full")

        def on_answered(self, message: Answered) -> None:
            self.exit(message.text)

    async def ask() -> str | None:
        app = Demo()
        await app.run_async(headless=True)
        return app.return_value

    print(answer := asyncio.run(ask()))
    assert answer == "the disk is full"
    print("=== 自测通过 ===")
