"""What the terminal at the other end can do: asked by whoever must choose how to draw.

It knows the environment and the standard streams, no widget and no escape code.
"""

from __future__ import annotations

import io
import os
import select
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def can_host_app() -> bool:
    """Whether a full-screen app can run: keys come in, the screen goes out, cursor moves work.

    Textual reads stdin and draws on stderr; a redirected stdout says that nobody watches.
    """
    streams = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    return not is_dumb() and all(stream is not None and stream.isatty() for stream in streams)


def can_redraw(stream: TextIO) -> bool:
    """Whether a line written to `stream` can be written over."""
    return stream.isatty() and not is_dumb()


def is_dumb() -> bool:
    return os.environ.get("TERM") == "dumb"


def has_unicode(stream: TextIO) -> bool:
    """Whether box drawing and Chinese come out as themselves.

    Python writes UTF-8 in the locale C too; who sets that one says that the terminal does not.
    """
    names = (os.environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next(filter(None, names), "UTF-8")
    return _is_utf8(stream.encoding or "ascii") and _is_utf8(locale)


def _is_utf8(name: str) -> bool:
    return "utf8" in name.lower().replace("-", "").replace("_", "")


def has_braille(stream: TextIO) -> bool:
    """Whether braille patterns do; the Linux console has no glyphs for them."""
    return has_unicode(stream) and os.environ.get("TERM") != "linux"


def has_chinese(stream: TextIO) -> bool:
    """Whether Chinese comes out as itself; the font of the Linux console has 512 glyphs at most."""
    return has_braille(stream)


def has_colour(stream: TextIO) -> bool:
    """Whether to send colours (`NO_COLOR` set to anything turns them off, no-color.org)."""
    return can_redraw(stream) and not os.environ.get("NO_COLOR")


def draw_for_files() -> None:
    """Have what is drawn from now on in all colours: it goes to files, not to the terminal here."""
    os.environ["COLORTERM"] = "truecolor"


def size() -> os.terminal_size:
    """Columns and lines; 80 by 24 where nobody knows."""
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


def leave(log: Path) -> None:
    """Give the terminal up: read nothing from now on, and let `log` take what is printed.

    After a hang-up a print would raise otherwise, and end what it only reports on; on a full disk
    it is lost. Safe in a signal handler: it flushes nothing.
    """
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for place in (log, Path(os.devnull)):
        try:
            with place.open("ab") as target:
                os.dup2(target.fileno(), 1)
                os.dup2(target.fileno(), 2)
        except OSError:
            continue
        break
    sys.stdout, sys.stderr = forgiving(1), forgiving(2)


def forgiving(descriptor: int) -> TextIO:
    """A stream whose writes never raise: on a full disk a print is lost, and not what printed."""
    buffered = io.BufferedWriter(_Forgiving(descriptor, "w", closefd=False))
    return io.TextIOWrapper(buffered, "utf-8", errors="replace", line_buffering=True)


class _Forgiving(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def say(text: str, log: Path) -> None:
    """Print where somebody still reads, else into `log`; never raises for either."""
    try:
        print(text, flush=True)
    except OSError:
        leave(log)
        print(text)  # What a stream could not write is not in it any more.


if __name__ == "__main__":
    print(f"app {can_host_app()}, unicode {has_unicode(sys.stdout)}, {size().columns} columns")
    assert size().columns > 0
    print("=== 自测通过 ===")
