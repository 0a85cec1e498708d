"""The cockpit on a run directory of a stranger says what is wrong and ends.

Row B12 of the review: it had to be killed. All traps at once are in `test_every_command`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import PROGRAM, ROOT, until
from strangers import linked_to
from terminals import Pty

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="has no /proc"),
]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[list[Pty]]:
    opened: list[Pty] = []
    yield opened
    for one in opened:
        if one.process.poll() is None:
            one.process.kill()
        one.close()


def monitor(run: str, tmp_path: Path, opened: list[Pty]) -> Pty:
    env = os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    opened.append(Pty([*PROGRAM, "monitor", run], tmp_path, env))
    return opened[-1]


def ended(terminal: Pty) -> bool:
    terminal.look(0.1)
    return terminal.process.poll() is not None


@pytest.mark.parametrize("name", ["samples.jsonl", "events.jsonl", "output.log"])
def test_monitor_refuses_a_run_that_leads_to_a_device(
    name: str, stranger: Path, canary: Path, tmp_path: Path, terminal: list[Pty]
) -> None:
    linked_to(name, "/dev/zero")(stranger, canary)
    shown = monitor("x", tmp_path, terminal)
    until(lambda: ended(shown))
    assert shown.process.returncode == 2 and shown.shows(f"{name}: is a symbolic link")
