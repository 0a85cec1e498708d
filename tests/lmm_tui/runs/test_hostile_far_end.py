"""Neither end of a remote run believes the other: an odd message ends the connection, no more."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_run import FakeRun
from hypothesis import given
from hypothesis import strategies as st
from processes import PROGRAM, ROOT, fake_ssh, until

from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunInfo
from lmm_tui.runs.remote.messages import (
    Growth,
    InfoUpdate,
    StatusUpdate,
    WireError,
    from_run,
    opening,
    order,
)
from lmm_tui.runs.remote.mirror import mirrored
from lmm_tui.runs.remote.mirror_folder import MOST_BYTES, MirrorFolder, RemoteError
from lmm_tui.runs.remote.protocol import GREETING, MAX_LINE, MAX_ORDER, Receiver
from lmm_tui.runs.remote.server import RunServer
from lmm_tui.terminal.safe_text import clean

OSC = "\x1b]52;c;aGk=\x07\x9b2J\u202e"
INFO = {
    **{"name": "far", "stage": "pretrain", "created": 1.0, "started": 1.0},
    **{"host": "there", "pid": 1, "pid_started": 1.0},
}
GREETED = [
    {"file": "run.json", "text": json.dumps(INFO)},
    {"file": "status.json", "status": {"state": "running", "step": 3}, "age": 0.5},
]


def wire(*messages: object) -> bytes:
    """What a far end sends that has not ended yet."""
    lines = (one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages)
    deflate = zlib.compressobj()
    sent = deflate.compress(b"".join(line + b"\n" for line in lines))
    return GREETING + sent + deflate.flush(zlib.Z_SYNC_FLUSH)


ODD: dict[str, object] = {
    "an unknown key full of escapes": {"file": "status.json", "status": {OSC: OSC}, "age": OSC},
    "no object": b"[1, 2]",
    "no JSON": OSC.encode(),
    "nested": b"[" * 200_000,
    "nested in an object": b'{"file": ' + b"[" * 200_000,
    "an offset beyond the file": {"file": "metrics.jsonl", "at": 2**62, "add": "x\n"},
    "an offset before it": {"file": "metrics.jsonl", "at": -1, "add": "x\n"},
    "an offset that is no number": {"file": "metrics.jsonl", "at": True, "add": "x\n"},
    "nothing added": {"file": "metrics.jsonl", "at": 0, "add": ""},
    "bytes as a number": {"file": "metrics.jsonl", "at": 0, "add": 7},
    "another file": {"file": "../../x", "at": 0, "add": "x"},
    "an absolute file": {"file": "/etc/passwd", "at": 0, "add": "x"},
    "a list as a file": {"file": ["metrics.jsonl"], "at": 0, "add": "x"},
    "config.toml": {"file": "config.toml", "text": "x"},
    "a reply that nobody waits for": {"id": 1, "reply": {"ok": True, "message": "x"}},
    "a reply of other types": {"id": 0, "reply": {"ok": "yes", "message": ["x"]}},
    "a reply with a list as its number": {"id": [], "reply": {"ok": True, "message": "x"}},
    "a run of a newer format": {"file": "run.json", "text": json.dumps(INFO | {"format": 9})},
    "a run with huge numbers": {"file": "run.json", "text": json.dumps(INFO | {"pid": 10**30})},
    "a run that is no text": {"file": "run.json", "text": INFO},
    "an age that is not a number": b'{"file": "status.json", "status": {}, "age": NaN}',
    "an error that is no text": {"error": {"x": OSC}},
    "no message at all": {},
}


@pytest.fixture
def far_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Sets what an `ssh` sends before it waits for its end; its pids are in the file returned."""

    def sends(data: bytes) -> Path:
        for name, value in fake_ssh(tmp_path).items():
            monkeypatch.setenv(name, value)
        (tmp_path / "sent").write_bytes(data)
        (tmp_path / "bin" / "ssh").write_text(
            f"#!/bin/sh\necho $$ >> '{tmp_path}/pids'\ncat '{tmp_path}/sent'\n"
            "while read -r line; do :; done\n"
        )
        return tmp_path / "pids"

    return sends


@pytest.mark.parametrize("message", ODD.values(), ids=ODD)
def test_an_odd_first_message_is_one_clean_sentence(
    far_end: Callable[[bytes], Path], message: object
) -> None:
    far_end(wire(message))
    with pytest.raises(RemoteError) as said, mirrored("box:run"):
        pass
    sentence = str(said.value)
    assert sentence.startswith("box:run: ") and sentence == clean(sentence)
    assert len(sentence) < 400


def test_an_odd_message_later_is_said_and_the_connection_made_again(
    far_end: Callable[[bytes], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pids = far_end(wire(*GREETED, b"[" * 200_000))
    with mirrored("box:run") as run:
        session = Reader(run.path)
        until(lambda: "connection lost" in session.run_dir.read_status().activity)
        assert session.view.status.step == 3
        more = {"file": "metrics.jsonl", "at": 0, "add": '{"step": 4, "train/loss": 2}\n'}
        (tmp_path / "sent").write_bytes(wire(*GREETED, more))
        until(lambda: session.poll() and session.series.last_step == 4)
        assert not session.run_dir.read_status().activity
        assert len(pids.read_text().split()) >= 2
    assert capfd.readouterr() == ("", "")


ENDLESS = {
    "zeros": "z = zlib.compressobj(); out(z.compress(bytes(1 << 20)))",
    "a line without end": "z = zlib.compressobj(); out(z.compress(os.urandom(999).hex().encode()))",
    "a file without end": (
        "z = zlib.compressobj(1); at = 0\n"
        "def grow():\n"
        "    global at\n"
        '    add = "x" * 1023 + chr(10)\n'
        '    line = json.dumps({"file": "metrics.jsonl", "at": at, "add": add * 1024})\n'
        "    at += 1 << 20\n"
        '    return z.compress(line.encode() + b"\\n")\n'
    ),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_what_has_no_end_is_ended(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a far end that sends for ever, little is kept, in memory and on disk."""
    monkeypatch.setitem(MOST_BYTES, "metrics.jsonl", 8 << 20)
    for name, value in fake_ssh(tmp_path).items():
        monkeypatch.setenv(name, value)
    body = ENDLESS[case]
    step = "out(grow())" if "grow" in body else body.partition("; ")[2]
    begin = body if "grow" in body else body.partition("; ")[0]
    source = (
        "import json, os, sys, zlib\n"
        "def out(data):\n    sys.stdout.buffer.write(data)\n"
        f"out({GREETING!r})\n{begin}\nwhile True:\n    {step}\n"
    )
    (tmp_path / "flood.py").write_text(source)
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path}/flood.py 2>/dev/null\n")
    before = psutil.Process().memory_info().rss
    with pytest.raises(RemoteError, match="more than [48] MB"), mirrored("box:run"):
        pass
    assert psutil.Process().memory_info().rss - before < 100 << 20


def test_a_flood_on_stderr_is_not_kept(far_end: Callable[[bytes], Path], tmp_path: Path) -> None:
    far_end(b"")
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text(
        f"#!/bin/sh\nhead -c 50000000 /dev/zero >&2\nprintf '\\n{'x' * 900}\\033]0;t\\007' >&2\n"
    )
    with pytest.raises(RemoteError) as said, mirrored("box:run"):
        pass
    assert len(str(said.value)) < 400 and "\x1b" not in str(said.value)


def test_a_greeting_that_never_comes_is_not_waited_for(far_end: Callable[[bytes], Path]) -> None:
    far_end(b"welcome\n" * 300_000)
    with pytest.raises(RemoteError, match="without the greeting"), mirrored("box:run"):
        pass


def test_a_long_message_and_one_inflated_by_pieces_arrive_whole() -> None:
    whole = [os.urandom(1 << 20).hex().encode()[: MAX_LINE - 1], b"0" * (MAX_LINE - 1), b"{}"]
    deflate = zlib.compressobj(9)
    sent = GREETING
    for line in whole:
        sent += deflate.compress(line + b"\n") + deflate.flush(zlib.Z_SYNC_FLUSH)
    assert list(Receiver(io.BufferedReader(io.BytesIO(sent)))) == whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("file", "at", "add", "id", "reply", "error", "text", "status", "age", "have", "command")
VALUES = st.sampled_from(["run.json", "status.json", "metrics.jsonl", "{}", 0, {"ok": True}]) | JSON
MESSAGES = st.dictionaries(st.sampled_from((*KEYS, "args")), VALUES) | JSON


def test_any_message_is_understood_or_refused() -> None:
    @given(MESSAGES.map(lambda found: json.dumps(found).encode()) | st.binary())
    def check(line: bytes) -> None:
        for understand in (from_run, opening, order):
            try:
                understand(line)
            except WireError as refused:
                assert str(refused) == clean(str(refused))

    check()


def test_any_message_leaves_the_mirror_a_run(tmp_path: Path) -> None:
    """What was understood is written so that every reader of a run can read it."""
    run = RunDir(tmp_path / "run")
    run.create()
    folder = MirrorFolder(run, tmp_path / "c.sock")
    folder.take(InfoUpdate(RunInfo(**INFO)))

    @given(MESSAGES.map(lambda found: json.dumps(found).encode()))
    def check(line: bytes) -> None:
        try:
            message = from_run(line)
            if isinstance(message, InfoUpdate | StatusUpdate | Growth):
                folder.take(message)
        except WireError:
            pass
        Reader(run.path).poll()

    check()


def test_a_line_without_end_is_not_kept(tmp_path: Path) -> None:
    """Many whole lines are; so is one that ends in the next part."""
    run = RunDir(tmp_path / "run")
    run.create()
    folder = MirrorFolder(run, tmp_path / "c.sock")
    part, at = "x" * (1 << 20), 0
    for add in (part, part, part + "\n", part, part, part, part):
        folder.take(Growth("events.jsonl", at, add))
        at += len(add)
    with pytest.raises(WireError, match="a line of more than 4 MB"):
        folder.take(Growth("events.jsonl", at, part))
    assert folder.sizes()["events.jsonl"] == at


ODD_ORDERS = {
    "no JSON": b"what?\n",
    "a list": b"[]\n",
    "nested": b"[" * 100_000 + b"\n",
    "other files": b'{"have": {"/etc/passwd": 0}}\n',
    "a negative size": b'{"have": {"metrics.jsonl": -5}}\n',
    "a size of 2^70": b'{"have": {"metrics.jsonl": 1180591620717411303424}}\n',
    "a size that is a text": b'{"have": {"metrics.jsonl": "0"}}\n',
    "a command that is none": b'{"have": {}}\n{"id": 1}\n',
    "a command with a list": b'{"have": {}}\n{"id": 1, "command": [], "args": {}}\n',
    "arguments that are none": b'{"have": {}}\n{"id": 1, "command": "stop", "args": null}\n',
}


@pytest.mark.parametrize("sent", ODD_ORDERS.values(), ids=ODD_ORDERS)
def test_serve_run_refuses_an_odd_monitor_in_one_sentence(sent: bytes, tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run")
    target = io.BytesIO()
    RunServer(run.dir.path, io.BytesIO(sent), target).serve()
    lines = list(Receiver(io.BufferedReader(io.BytesIO(target.getvalue()))))
    assert "the monitor sent" in json.loads(lines[-1])["error"]
    run.close()


def test_serve_run_ends_a_line_without_end(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run")
    served = subprocess.Popen(
        [*PROGRAM, "serve-run", str(run.dir.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert served.stdin and served.stdout and served.stderr
    served.stdin.write(b'{"have": {}}\n' + b"x" * (MAX_ORDER + 1))
    served.stdin.flush()
    lines = list(Receiver(served.stdout))  # type: ignore[arg-type]
    assert "a line of more than" in json.loads(lines[-1])["error"]
    assert served.wait(120) == 0 and not served.stderr.read()
    for stream in (served.stdin, served.stdout, served.stderr):
        stream.close()
    run.close()


def test_more_commands_than_wait_are_answered(tmp_path: Path) -> None:
    """A monitor that only sends is refused, and starts no thread for each."""
    run = FakeRun(tmp_path / "run")
    answered = threading.Event()
    run.serve(lambda request: Reply(answered.wait(60), request.command))
    orders = [{"id": number, "command": "pause", "args": {}} for number in range(100)]
    lines = [json.dumps(message).encode() + b"\n" for message in ({"have": {}}, *orders)]
    source, target = Held(lines), io.BytesIO()
    server = RunServer(run.dir.path, source, target)  # type: ignore[arg-type]
    serving = threading.Thread(target=server.serve, daemon=True)
    before = threading.active_count()
    serving.start()

    def replies() -> list[dict[str, Any]]:
        received = Receiver(io.BufferedReader(io.BytesIO(target.getvalue())))
        return [found["reply"] for line in received if "reply" in (found := json.loads(line))]

    until(lambda: len(replies()) >= 60, 30)
    assert threading.active_count() - before < 50
    answered.set()
    until(lambda: len(replies()) == 100, 30)
    source.closed.set()
    serving.join(120)
    assert not serving.is_alive()
    assert sum("too many" in reply["message"] for reply in replies()) >= 60
    run.close()


class Held:
    """A stream of lines whose end comes when `closed` is set."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = iter(lines)
        self.closed = threading.Event()

    def readline(self, size: int) -> bytes:
        line = next(self._lines, b"")
        if not line:
            self.closed.wait(60)
        return line
