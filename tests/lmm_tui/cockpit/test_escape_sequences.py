"""No control character of a model, a log or a foreign file reaches the terminal (a real pty)."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hostile_strings import CORPUS, hostile_run

from lmm_tui.engine.run.run_dir import RunDir

RAW = (
    b"\x1b]52",
    b"\x1b]0;pwned",
    b"\x1b]8;;http://pwned",
    b"\x1b[13;37H",
    b"\x1b[666C",
    b"\x1b[31337A",
    b"\x1bP+qpwned",
    b"\x1b_Gpwned",
    b"\x1bc",
    *(chr(code).encode() for code in range(0x80, 0xA0)),
    *(char.encode() for char in "\u202e\u202c\u2066\u2069\u200f\u200b\ufeff\u2060"),
    b"\0",
    b"\x07",
    b"\x7f",
    "\u0301\u0316\u0301\u0316".encode(),
)

# The tab of the open screen is one span, that of any other is two.
KEYS_BY_SCREEN = (
    (b"demo", b"2"),
    (b"2 runs", b"3"),
    (b"3 samp", b"4"),
    (b"4 eval", b"5"),
    (b"5 c", b"6"),
    (b"6 log", b"7"),
    (b"7 sys", b"8"),
    (b"trains 1,000 steps", b"q"),
)
"""What shows that a screen is open, and the key to press then."""

_PAUSE_S = 0.12
"""Without output: what a screen paints at first has been read."""

POINTER = b"\x1b]22;default\x07"
"""Textual sets the shape of the mouse pointer."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run with control characters in every text, its folder's name included."""
    return hostile_run(tmp_path_factory.mktemp("runs"))


def printed(program: str, arguments: list[str], typed: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """All that a program writes to its terminal.

    Each of `typed` is a text and the key to press once that text, and what comes with it, has been
    written; after the last one the program is killed.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env=os.environ | {"TERM": "xterm-256color"},
    )
    os.close(slave)
    seen, start, left = b"", 0, list(typed)
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline and (left or not typed):
            if select.select([master], [], [], _PAUSE_S)[0]:
                try:
                    seen += os.read(master, 65536)
                except OSError:
                    break
            elif left and left[0][0] in seen[start:]:
                start = len(seen)
                os.write(master, left.pop(0)[1])
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(master)
    assert not left, (left[0], seen[-3000:])
    return seen


def assert_harmless(seen: bytes) -> None:
    seen = seen.replace(POINTER, b"")
    found = [raw for raw in RAW if raw in seen]
    assert not found, [(raw, seen[max(seen.find(raw) - 60, 0) :][:120]) for raw in found[:3]]


PRINTING = """
import sys
from pathlib import Path
from lmm_tui.cli import main as cli
from lmm_tui.cli.progress_printer import ProgressPrinter
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.reader import Reader
path, folder = sys.argv[1:]
for words in (["runs", "--runs-dir", folder], ["status", path], ["plot", "--text", path],
              ["health", path], ["send", path, "pause"], ["status", path + "nowhere"]):
    print("##", words[0], cli.run(words), flush=True)
run = RunDir(Path(path))
later = [(file, file.rename(file.with_suffix(".later"))) for file in (run.events, run.samples)]
progress = ProgressPrinter(Reader(path), sys.stdout)  # It shows only what is written from now.
for file, moved in later:
    moved.rename(file)
print("## progress")
progress.look()
progress.end()
print("## shown")
"""


def test_no_command_that_prints_passes_an_escape_sequence_on(run: RunDir) -> None:
    seen = printed(PRINTING, [str(run.path), str(run.path.parent)])
    assert b"## shown" in seen, seen[-3000:]
    commands, _, progress = seen.partition(b"## progress")
    assert "␛]52".encode() in commands and b"demo" in commands
    assert progress.count("␛]52".encode()) >= 3  # Events, samples and the status.
    assert_harmless(seen)


def test_no_page_of_the_cockpit_passes_an_escape_sequence_on(run: RunDir) -> None:
    program = "from lmm_tui.cli.main import main; main()"
    seen = printed(program, ["monitor", str(run.path)], KEYS_BY_SCREEN)
    assert "␛]52".encode() in seen, seen[-3000:]
    assert_harmless(seen)


def test_the_corpus_is_found_where_it_comes_out_raw(tmp_path: Path) -> None:
    program = "import sys; sys.stdout.write(open(sys.argv[1], newline='').read())"
    (tmp_path / "corpus").write_bytes("".join(CORPUS.values()).encode())
    seen = printed(program, [str(tmp_path / "corpus")])
    assert [raw for raw in RAW if raw not in seen] == []
