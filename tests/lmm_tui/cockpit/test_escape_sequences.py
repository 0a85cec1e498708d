"""What a model, a log or a stranger may write, and no terminal may get: read from a real pty."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from made_runs import make_run

from lmm_tui.engine.run.run_dir import RunDir

CORPUS = {
    "OSC 52 sets the clipboard": "\x1b]52;c;cHduZWQ=\x07",
    "OSC 0 sets the title": "\x1b]0;pwned\x1b\\",
    "OSC 8 makes a link": "\x1b]8;;http://pwned\x07",
    "cursor moves": "\x1b[13;37H\x1b[666C\x1b[31337A",
    "DCS": "\x1bP+qpwned\x1b\\",
    "APC": "\x1b_Gpwned\x1b\\",
    "reset": "\x1bc",
    "C1 controls": "".join(map(chr, range(0x80, 0xA0))),
    "bidi": "\u202epwned\u202c\u2066\u2069\u200f",
    "zero width": "\u200b\ufeff\u2060",
    "NUL and BEL": "a\0b\x07c\x08d\x7f",
    "combining marks": "Z" + "\u0301\u0316" * 5000,
}

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

POINTER = b"\x1b]22;default\x07"
"""Textual's own word on the shape of the mouse pointer."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run every word of which is hostile, its folder's name included."""
    evil = "".join(CORPUS.values())
    folder = tmp_path_factory.mktemp("runs")
    short = evil.replace("\0", "").replace("/", "").encode()[:200].decode(errors="ignore")
    run = make_run(folder, f"demo{short}", state="failed", error=evil, activity=evil, model=evil)
    run.write_info(
        type(run.read_info())(
            **{**vars(run.read_info()), "device": evil, "parent": evil, "references": {evil: 3.0}}
        )
    )
    with run.metrics.open("w", encoding="utf-8") as file:
        for step in range(1, 40):
            row = {"step": step, "time": 1e9 + step, "train/loss": 5 - step / 20}
            row |= {f"{name}{attack}": float(step) for name, attack in CORPUS.items()}
            row |= {f"grad/{attack}": 0.1 for attack in CORPUS.values()}
            file.write(json.dumps(row) + "\n")
    levels = ("info", "warning", "error")
    with run.events.open("w", encoding="utf-8") as file:
        for number, attack in enumerate(CORPUS.values()):
            event = {"time": 1e9, "step": attack, "kind": attack, "message": attack}
            file.write(json.dumps({**event, "level": levels[number % 3]}) + "\n")
    with run.samples.open("w", encoding="utf-8") as file:
        for attack in CORPUS.values():
            text = {"step": attack, "kind": "sample", "prompt": attack, "text": attack}
            losses = {"kind": "token_losses", "tokens": [attack] * 3, "losses": [0.5, 2, 9]}
            file.write(json.dumps(text) + "\n" + json.dumps({"step": 3, **losses}) + "\n")
    run.output.write_text(evil)
    run.write_config(f"stage = {json.dumps(evil)}\n")
    return run


def printed(program: str, arguments: list[str], keys: bytes = b"", quiet_s: float = 0.0) -> bytes:
    """All that a program writes to its terminal; each key is typed once it has drawn something."""
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
    seen, left = b"", list(keys)
    deadline = time.monotonic() + 40
    try:
        while time.monotonic() < deadline:
            if select.select([master], [], [], quiet_s or 10)[0]:
                try:
                    seen += os.read(master, 65536)
                except OSError:
                    break
            elif not seen:
                continue
            elif left:
                os.write(master, bytes([left.pop(0)]))
            elif quiet_s:
                break
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(master)
    return seen


def assert_harmless(seen: bytes) -> None:
    seen = seen.replace(POINTER, b"")
    found = [raw for raw in RAW if raw in seen]
    assert not found, [(raw, seen[max(seen.find(raw) - 60, 0) :][:120]) for raw in found[:3]]


PRINTING = """
import sys
from lmm_tui.cli import main as cli
from lmm_tui.cli.progress_printer import ProgressPrinter
from lmm_tui.runs.session import RunSession
path, folder = sys.argv[1:]
for words in (["runs", "--runs-dir", folder], ["status", path], ["plot", "--text", path],
              ["health", path], ["send", path, "pause"], ["status", path + "nowhere"]):
    print("##", words[0], cli.run(words), flush=True)
progress = ProgressPrinter(RunSession(path), sys.stdout)
progress._events_shown = progress._samples_shown = 0
progress.look()
progress.end()
print("## shown")
"""


def test_no_command_that_prints_passes_an_escape_sequence_on(run: RunDir) -> None:
    seen = printed(PRINTING, [str(run.path), str(run.path.parent)])
    assert b"## shown" in seen, seen[-3000:]
    assert "␛]52".encode() in seen and b"demo" in seen
    assert_harmless(seen)


def test_no_page_of_the_cockpit_passes_an_escape_sequence_on(run: RunDir) -> None:
    program = "from lmm_tui.cli.main import main; main()"
    seen = printed(program, ["monitor", str(run.path)], keys=b"1234567890", quiet_s=0.12)
    assert b"demo" in seen and "␛]52".encode() in seen, seen[-3000:]
    assert_harmless(seen)


def test_the_corpus_is_found_where_it_comes_out_raw(tmp_path: Path) -> None:
    program = "import sys; sys.stdout.write(open(sys.argv[1], newline='').read())"
    (tmp_path / "corpus").write_bytes("".join(CORPUS.values()).encode())
    seen = printed(program, [str(tmp_path / "corpus")])
    assert [raw for raw in RAW if raw not in seen] == []
