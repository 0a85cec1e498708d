"""When a screen can be drawn, asked of processes on real pseudo-terminals."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from lmm_tui.terminal import capabilities

ASK = (
    "import sys; import lmm_tui.terminal.capabilities as terminal; "
    "open(sys.argv[1], 'w').write(str({}))"
)


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
        assert not capabilities.can_redraw(stream)
        assert not capabilities.has_colour(stream)
    os.close(read_end)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("log_is_full", [True, False])
def test_words_that_find_a_full_disk_are_said_once_or_not_at_all(
    log_is_full: bool, tmp_path: Path
) -> None:
    log = Path("/dev/full") if log_is_full else tmp_path / "output.log"
    program = (
        "import sys; from pathlib import Path; from lmm_tui.terminal.capabilities import "
        "print_or_log; log = Path(sys.argv[1]); print_or_log('one', log); print_or_log('two', log);"
        "print('three'); print('four', file=sys.stderr)"
    )
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", program, str(log)], stdout=full, stderr=full, check=False
        )
    assert done.returncode == 0
    assert log_is_full or log.read_text().split() == ["one", "two", "three", "four"]
