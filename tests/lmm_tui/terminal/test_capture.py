"""What others print while an app owns the terminal ends in the log, and a dead terminal is felt."""

import io
import os
import pty
import sys
from contextlib import contextmanager, suppress

from lmm_tui.terminal.capture import Terminal, TerminalStream


@contextmanager
def terminal_of_ours():
    """A pseudo-terminal as fds 0 to 2, whatever pytest did to them; yields its other end."""
    saved = [os.dup(descriptor) for descriptor in (0, 1, 2)]
    master, slave = pty.openpty()
    for descriptor in (0, 1, 2):
        os.dup2(slave, descriptor)
    os.close(slave)
    try:
        yield master
    finally:
        for descriptor, copy in enumerate(saved):
            os.dup2(copy, descriptor)
            os.close(copy)
        with suppress(OSError):
            os.close(master)


def test_prints_of_python_and_c_go_to_the_log_from_the_first_one_on(tmp_path):
    log = tmp_path / "output.log"
    log.write_text("before\n")
    with Terminal() as terminal:
        os.write(1, b"early C\n")
        print("early Python")
        terminal.redirect(log)
        os.write(2, b"late C\n")
        print("late Python", file=sys.stderr)
    assert sorted(log.read_text().splitlines()) == sorted(
        ["before", "early C", "early Python", "late C", "late Python"]
    )


def test_textual_is_given_the_terminal_itself():
    with terminal_of_ours() as other_end, Terminal():
        assert sys.__stderr__ is sys.__stdout__
        assert os.isatty(sys.__stderr__.fileno())
        assert not os.isatty(1)
        sys.__stderr__.write("drawn")
        sys.__stderr__.flush()
        assert os.read(other_end, 100) == b"drawn"


def test_streams_and_descriptors_are_put_back():
    streams = sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__
    before = [os.fstat(descriptor).st_ino for descriptor in (0, 1, 2)]
    with Terminal():
        pass
    assert (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__) == streams
    assert [os.fstat(descriptor).st_ino for descriptor in (0, 1, 2)] == before


def test_without_a_log_nothing_that_was_printed_is_lost(capsys):
    with Terminal():
        print("a traceback")
    assert "a traceback" in capsys.readouterr().err


def test_a_closed_terminal_is_felt(tmp_path):
    with terminal_of_ours() as other_end, Terminal() as terminal:
        terminal.redirect(tmp_path / "output.log")
        assert not terminal.hung_up
        os.close(other_end)
        assert terminal.hung_up
        terminal.say("into the void")  # must not raise


def test_a_stream_that_loses_its_terminal_never_raises():
    read, write = os.pipe()
    stream = TerminalStream(io.BufferedWriter(io.FileIO(write, "w")), encoding="utf-8")
    os.close(read)
    for _ in range(3):
        stream.write("drawn")
        stream.flush()
    assert stream.lost
