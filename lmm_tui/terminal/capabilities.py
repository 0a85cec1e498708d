"""What the terminal can do, judged by the environment and the standard streams.

`release_terminal` and `print_or_log` keep a process running after its terminal is gone.
"""

from __future__ import annotations

import io
import os
import select
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lmm_tui.guarded_files import appending

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def can_host_app() -> bool:
    """Whether a full-screen app can run: the standard streams are a terminal with cursor movement.

    Textual reads stdin and draws on stderr; a redirected stdout means that nobody watches.
    """
    streams = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    return not is_dumb() and all(stream is not None and stream.isatty() for stream in streams)


def can_redraw(stream: TextIO) -> bool:
    """Whether a line written to `stream` can be overwritten in place."""
    return stream.isatty() and not is_dumb()


def is_dumb() -> bool:
    return os.environ.get("TERM") == "dumb"


def has_unicode(stream: TextIO) -> bool:
    """Whether the terminal shows Unicode, such as box drawing.

    Python writes UTF-8 even in the C locale; a user who sets C has a terminal that cannot show it.
    """
    names = (os.environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next(filter(None, names), "UTF-8")
    return _is_utf8(stream.encoding or "ascii") and _is_utf8(locale)


def _is_utf8(name: str) -> bool:
    return "utf8" in name.lower().replace("-", "").replace("_", "")


def has_braille(stream: TextIO) -> bool:
    """Whether the terminal shows braille patterns; the Linux console has no glyphs for them."""
    return has_unicode(stream) and os.environ.get("TERM") != "linux"


def has_chinese(stream: TextIO) -> bool:
    """Whether the terminal shows Chinese; fonts of the Linux console have at most 512 glyphs."""
    return has_braille(stream)


def has_colour(stream: TextIO) -> bool:
    """Whether to send colours; a `NO_COLOR` that is not empty turns them off (no-color.org)."""
    return can_redraw(stream) and not os.environ.get("NO_COLOR")


def draw_for_files() -> None:
    """Draw in full colour from now on, whatever the terminal, because the output goes to a file."""
    os.environ["COLORTERM"] = "truecolor"


def size() -> os.terminal_size:
    """Columns and lines; 80 by 24 if not known."""
    return shutil.get_terminal_size()


def over_ssh() -> bool:
    return "SSH_CONNECTION" in os.environ


def in_tmux() -> bool:
    return "TMUX" in os.environ


def hung_up(descriptor: int) -> bool:
    """Whether the terminal behind a descriptor has gone; costs microseconds."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(happened & (select.POLLHUP | select.POLLERR) for _, happened in poll.poll(0))


def release_terminal(log: Path) -> None:
    """Point stdin at /dev/null and the output at `log`.

    After a hang-up a print would raise otherwise and end the work it reports on. If the log cannot
    be opened, output is discarded. Safe in a signal handler: nothing is flushed.
    """
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for path in (log, Path(os.devnull)):
        try:
            with path.open("ab") if path != log else appending(log) as target:
                os.dup2(target.fileno(), 1)
                os.dup2(target.fileno(), 2)
        except OSError:
            continue
        break
    sys.stdout, sys.stderr = forgiving(1), forgiving(2)


def forgiving(descriptor: int) -> TextIO:
    """A stream whose writes never raise: on a full disk the text is lost and the process lives."""
    buffered = io.BufferedWriter(_Forgiving(descriptor, "w", closefd=False))
    return io.TextIOWrapper(buffered, "utf-8", errors="replace", line_buffering=True)


class _Forgiving(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def print_or_log(text: str, log: Path) -> None:
    """Print, or if standard output is closed release the terminal and print into `log`."""
    try:
        print(text, flush=True)
    except OSError:
        release_terminal(log)
        print(text)  # The old stream has discarded it.


if __name__ == "__main__":
    print(f"app {can_host_app()}, unicode {has_unicode(sys.stdout)}, {size().columns} columns")
    assert size().columns > 0
    print("=== 自测通过 ===")
