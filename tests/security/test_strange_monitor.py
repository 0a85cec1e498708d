"""The cockpit on a run directory of a stranger says what is wrong or shows it, and `q` ends it.

Row B12 of the review: it had to be killed. And all traps at once go through every command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import PROGRAM, ROOT, until
from strangers import (
    FILES,
    FOLDERS,
    NESTED,
    SETTINGS,
    Trap,
    changed,
    holding,
    linked,
    linked_to,
    many_names,
    piped,
    sparse,
)
from terminals import Pty

from lmm_tui.cli import main

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="has no /proc"),
]

Capture = pytest.CaptureFixture[str]


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


EVERYTHING: dict[str, Trap] = {
    **{name: linked(name) for name in FOLDERS},
    **{name: linked(name) for name in FILES},
    "events.jsonl": linked_to("events.jsonl", "/dev/zero"),
    "note.txt": piped("note.txt"),
    "output.log": sparse("output.log"),
    "config.toml": holding("config.toml", f"a = {NESTED}"),
    "run.json": changed("run.json", started=2**62),
}


@pytest.mark.parametrize("name", ["samples.jsonl", "events.jsonl", "output.log"])
def test_monitor_refuses_a_run_that_leads_to_a_device(
    name: str, stranger: Path, canary: Path, tmp_path: Path, terminal: list[Pty]
) -> None:
    linked_to(name, "/dev/zero")(stranger, canary)
    shown = monitor("x", tmp_path, terminal)
    until(lambda: ended(shown))
    assert shown.process.returncode == 2 and shown.shows(f"{name}: is a symbolic link")


def test_monitor_of_an_odd_run_is_left_by_a_key(
    stranger: Path, canary: Path, tmp_path: Path, terminal: list[Pty]
) -> None:
    many_names(stranger, canary)
    odd = f'{NESTED}\n{{"kind": [], "step": {{}}, "message": 5}}\n5\n' + '{"step":1}\n' * 100_000
    for name in ("events.jsonl", "samples.jsonl"):
        holding(name, odd)(stranger, canary)
    holding("config.toml", "health = 5\nlog = []\n")(stranger, canary)
    changed("status.json", step=2**62, total_steps=1, eta_s=2**62, tokens=2**62)(stranger, canary)
    shown = monitor("x", tmp_path, terminal)
    until(lambda: shown.look(0.1) and shown.shows("pretrain"))
    shown.press("q")
    until(lambda: ended(shown))
    assert shown.process.returncode == 0


def test_all_traps_at_once_go_through_every_command(
    stranger: Path,
    canary: Path,
    tmp_path: Path,
    terminal: list[Pty],
    capsys: Capture,
) -> None:
    for trap in EVERYTHING.values():
        trap(stranger, canary)
    for command in (
        ["status", "x"],
        ["health", "x"],
        ["plot", "x", "--text"],
        ["plot", "x", "--output", "x.png"],
        ["export", "x", "--to", "csv"],
        ["spikes", "x"],
        ["convert", "x", "out"],
        ["eval", "--run", "x"],
        ["resume", "x", "--steps", "20"],
        ["train", "--from", "x", "--name", "mine", "--runs-dir", "runs", *SETTINGS],
        ["send", "x", "pause"],
    ):
        assert main.run(command) in (1, 2), command
        said = capsys.readouterr()
        assert "Traceback" not in said.err and "runs/x/" in said.err, command
    assert main.run(["runs"]) == 0
    assert capsys.readouterr().out.startswith("broken: runs/x/")
    shown = monitor("x", tmp_path, terminal)
    until(lambda: ended(shown))
    assert shown.process.returncode == 2
