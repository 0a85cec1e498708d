"""What travels through the cockpit: how a screen was left, and what work in threads came to.

Small frozen facts; they know no widget.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from textual.message import Message

from lmm_tui.engine.run.control_mailbox import Reply

OVERLAY = "overlay"
"""The name of the screen that lies over the list of runs."""
CONFIGURE = "configure"
"""The name of the form, to know it without importing it."""


class Departure(Enum):
    """Why the app left the screen; whoever started the app decides what follows."""

    QUIT = "quit"
    """Nothing goes on: the run has ended, or none was started."""
    DETACH = "detach"
    """The run goes on without this screen."""
    STOP = "stop"
    """The run shall stop after the step in progress, with a checkpoint."""
    HANGUP = "hangup"
    """The terminal has gone."""
    TERMINATE = "terminate"
    """The process was asked to end (SIGTERM)."""


@dataclass
class CommandDone(Message):
    """A command to the run has been answered, by the run or on its behalf."""

    command: str
    reply: Reply


@dataclass
class ExportDone(Message):
    """The plots have been written, or `error` says why not."""

    paths: tuple[str, ...]
    error: str = ""


@dataclass
class OpenRun(Message):
    """Somebody chose a run: the cockpit shall show it from now on."""

    path: Path


@dataclass
class StartFrom(Message):
    """Somebody wants to configure a run that starts from this checkpoint."""

    checkpoint: Path


@dataclass
class SettingsAnswered(Message):
    """The run has said what became of settings that somebody wanted changed."""

    reply: Reply


if __name__ == "__main__":
    print(CommandDone("probe", Reply(True, "probed", 12)))
    assert Departure("stop") is Departure.STOP
    print("=== 自测通过 ===")
