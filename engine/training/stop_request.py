"""The request to stop, which ends the loop between two steps; free of torch, for the run's host."""

from __future__ import annotations

from lmm_tui.engine.run.control_mailbox import Reply, Request
from lmm_tui.message import Message


class StopRequested(Exception):
    """Unwinds the loop at a step boundary; the request is answered once the run has ended."""

    def __init__(self, request: Request, save: bool) -> None:
        super().__init__("stop")
        self.request = request
        self.save = save
        self.saved = False

    def reply(self, step: int) -> Reply:
        if self.save and not self.saved:
            return Reply(False, Message("stopped, but the checkpoint could not be written"), step)
        return Reply(
            True,
            Message("stopped with a checkpoint" if self.save else "stopped without a checkpoint"),
            step,
        )


if __name__ == "__main__":
    stop = StopRequested(Request("stop", {}), save=True)
    print(stop.reply(4))
    print("=== 自测通过 ===")
