"""When a screen can be drawn, asked of processes on real pseudo-terminals."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from lmm_tui import terminal

ASK = "import sys; from lmm_tui import terminal; open(sys.argv[1], 'w').write(str({}))"


@pytest.mark.parametrize(
    ("redirected", "term", "expected"),
    [
        ((), "xterm", "True"),
        ((), "dumb", "False"),
        (("stdin",), "xterm", "False"),
        (("stdout",), "xterm", "False"),
        (("stderr",), "xterm", "False"),
    ],
)
def test_an_app_needs_all_three_streams_and_a_cursor(
    redirected: tuple[str, ...], term: str, expected: str, tmp_path: Path
) -> None:
    master, end = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), end)
    streams |= dict.fromkeys(redirected, subprocess.DEVNULL)
    answer = tmp_path / "answer"
    subprocess.run(
        [sys.executable, "-c", ASK.format("terminal.can_host_app()"), str(answer)],
        env=os.environ | {"TERM": term},
        check=True,
        **streams,
    )
    os.close(master)
    os.close(end)
    assert answer.read_text() == expected


def test_a_pipe_is_no_place_to_write_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as stream:
        assert not terminal.can_redraw(stream)
        assert not terminal.has_colour(stream)
    os.close(read_end)
