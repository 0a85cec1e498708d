"""The `lmm-tui` program: sets the language, opens the cockpit or reads the command line, and says
in one sentence what is refused.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from itertools import pairwise

from lmm_tui import installation
from lmm_tui.errors import LmmError
from lmm_tui.i18n import language
from lmm_tui.message import Message
from lmm_tui.terminal import capabilities
from lmm_tui.terminal.safe_streams import clean_errors, cleaned_errors

USER_ERROR = 2
INTERRUPTED = 130


def _refuse(sentence: str) -> int:
    from lmm_tui.i18n.translate_messages import translate_message
    from lmm_tui.terminal.safe_text import clean

    print(f"lmm-tui: {clean(translate_message(sentence))}", file=sys.stderr)
    return USER_ERROR


def main() -> None:
    """The console script."""
    clean_errors()  # Also for what is written after `run`: the traceback of a bug.
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run one command line; returns the exit code.

    0: done; 1: the run failed or refused; 2: wrong input, one sentence on stderr; 130: interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    language.choose(_language_option(args))
    with cleaned_errors():
        return _run(args)


def _call(args: Sequence[str]) -> object:
    if not args and capabilities.can_host_app():  # Without click: a person waits for the screen.
        from lmm_tui.cli.open_cockpit import open_cockpit

        return open_cockpit()
    from lmm_tui.cli.command_line import call

    return call(args)


def _run(args: Sequence[str]) -> int:
    try:
        code = _call(args)
        sys.stdout.flush()
    except LmmError as error:
        return _refuse(str(error))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "lmm_tui":
            raise
        return _refuse(str(installation.missing(error.name)))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the pipe has exited; the interpreter's last flush must not fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # Of any look at a path that was typed, or stands in a file.
        if error.errno != errno.ENAMETOOLONG:
            raise
        name = str(error.filename)[:80]
        return _refuse(
            Message("{name}…: no file has so long a name; give a shorter one", name=name)
        )
    return code if isinstance(code, int) else 0


def _language_option(args: Sequence[str]) -> str | None:
    given = [value for flag, value in pairwise(args) if flag == "--lang"]
    given += [arg.partition("=")[2] for arg in args if arg.startswith("--lang=")]
    return given[0] if given and given[0] in language.LANGUAGES else None


if __name__ == "__main__":
    assert run(["--help"]) == 0
    assert run(["lunch"]) == USER_ERROR
    print("=== 自测通过 ===")
