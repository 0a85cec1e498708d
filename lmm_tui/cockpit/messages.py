"""Messages between screens and the app, and the reasons why the app exits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from lmm_tui.engine.config.run_config import RunConfig
    from lmm_tui.engine.run.control_mailbox import Reply

OVERLAY = "overlay"
"""The name of the overlay screen, which is opened from the list of runs."""
CONFIGURE = "configure"
"""The name of the configure screen, whose module is imported only when it opens."""


class Departure(Enum):
    """Why the app exited; the launcher decides what happens to the run."""

    QUIT = "quit"
    """The run has ended, or none was started."""
    DETACH = "detach"
    """Training keeps running without the cockpit."""
    STOP = "stop"
    """Stop the run after the current step, with a checkpoint."""
    HANGUP = "hangup"
    """The terminal was closed."""
    TERMINATE = "terminate"
    """The process received SIGTERM."""


@dataclass
class CommandDone(Message):
    """A command to the run has been answered."""

    command: str
    reply: Reply


@dataclass
class ExportDone(Message):
    """An export has ended; `error` is empty if the files were written."""

    paths: tuple[str, ...]
    error: str = ""


@dataclass
class OpenRun(Message):
    """Show another run."""

    path: Path


@dataclass
class ColumnsChosen(Message):
    """Columns of the list of runs, to be kept for the next start; none for the default."""

    columns: tuple[str, ...]


@dataclass
class StartFrom(Message):
    """Configure a new run that starts from a checkpoint."""

    checkpoint: Path


@dataclass
class ConfigureRun(Message):
    """Configure a new run, beginning with these settings."""

    config: RunConfig


@dataclass
class TerminalNotice(Message):
    """Ring the bell of the terminal and have it show this text."""

    text: str


@dataclass
class SettingsAnswered(Message):
    """The run has answered a change of its settings."""

    reply: Reply


if __name__ == "__main__":
    from lmm_tui.engine.run.control_mailbox import Reply

    print(CommandDone("probe", Reply(True, "probed", 12)))
    assert Departure("stop") is Departure.STOP
    print("=== 自测通过 ===")
