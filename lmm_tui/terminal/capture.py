"""Reserves the terminal for an app: all other output, that of C code too, goes to a log.

Textual draws on `sys.__stderr__` and asks `sys.__stdout__` for the size, so both become a stream
on a duplicate of the terminal, while file descriptors 1 and 2 point at the log.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TextIO, cast

from lmm_tui.guarded_files import appending
from lmm_tui.terminal.capabilities import forgiving, hung_up
from lmm_tui.terminal.glyph_fallback import GlyphFallback, fallback_for


class TerminalStream(io.TextIOWrapper):
    """Text to a terminal; once it is gone, `lost` is set and output is discarded.

    An exception here would end Textual's writer thread, and the app would hang on its queue.
    """

    lost = False
    spelling: GlyphFallback | None = None
    """Replacements for characters that the terminal has no glyphs for."""

    def write(self, text: str) -> int:
        if not self.lost:
            with self._losing():
                return super().write(text.translate(self.spelling) if self.spelling else text)
        return len(text)

    def flush(self) -> None:
        if not self.lost:
            with self._losing():
                super().flush()

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self.lost = True


class Terminal:
    """The controlling terminal, reserved within a `with` block.

    Until `redirect` names a log, output is kept in a temporary file. It is then copied into the
    log; if no log was ever named, it is printed at the end.
    """

    def __init__(self) -> None:
        self._aside: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed on exit
        self._log: Path | None = None
        self._saved: list[tuple[int, int]] = []
        self._streams: tuple[TextIO | None, ...] = ()

    def __enter__(self) -> Terminal:
        self._streams = (sys.__stdout__, sys.__stderr__, sys.stdout, sys.stderr)
        for stream in self._streams:
            if stream is not None:
                stream.flush()
        self._saved = [(descriptor, os.dup(descriptor)) for descriptor in (0, 1, 2)]
        encoding = getattr(sys.__stdout__, "encoding", None) or "utf-8"
        copy = io.BufferedWriter(io.FileIO(os.dup(1), "w"))
        self._screen = TerminalStream(cast(BinaryIO, copy), encoding=encoding, errors="replace")
        self._screen.spelling = fallback_for(self._screen)
        sys.__stdout__ = sys.__stderr__ = self._screen  # type: ignore[misc]
        self._point_at(self._aside.fileno())
        self._printed = [forgiving(descriptor) for descriptor in (1, 2)]
        self.claim_prints()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for printed in self._printed:
            printed.flush()
        gone = self.hung_up
        for descriptor, saved in self._saved:
            if not gone:
                os.dup2(saved, descriptor)
            os.close(saved)
        sys.__stdout__, sys.__stderr__, sys.stdout, sys.stderr = self._streams  # type: ignore
        if self._log is None and not gone:
            self._aside.seek(0)
            for line in self._aside.read().decode("utf-8", "replace").splitlines():
                print(line, file=sys.stderr)
        self._aside.close()
        self._screen.flush()

    @property
    def hung_up(self) -> bool:
        """Whether the terminal has gone."""
        return self._screen.lost or hung_up(self._screen.fileno())

    def claim_prints(self) -> None:
        """Send Python's prints to the log. Call it again once Textual has replaced the streams."""
        sys.stdout, sys.stderr = self._printed

    def redirect(self, log: Path) -> None:
        """Send output to `log`, beginning with what was kept so far."""
        for printed in self._printed:
            printed.flush()
        with appending(log) as target:
            if self._log is None:
                self._aside.seek(0)
                target.write(self._aside.read())
                target.flush()
            self._point_at(target.fileno())
        self._log = log

    def say(self, text: str) -> None:
        """Print on the terminal itself, while no app runs; discarded if the terminal is gone."""
        self._screen.write(text + "\n")
        self._screen.flush()

    def _point_at(self, descriptor: int) -> None:
        for standard in (1, 2):
            os.dup2(descriptor, standard)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "output.log"
        with Terminal() as terminal:
            terminal.redirect(written)
            os.system("echo from a child")
        print(written.read_text(), end="")
    print("=== 自测通过 ===")
