"""Our replacements of private parts of Textual fit it; the cockpit works without them, too."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import textual
from fake_run import FakeRun
from processes import until
from terminals import Pty

from lmm_tui.cli import doctor_checks
from lmm_tui.textual_patches import install as patching
from lmm_tui.textual_patches.install import PATCHES, PLAIN, Patch, differences, explain

MONITOR = """
import sys
from lmm_tui.cli.main import run
code = run(["monitor", sys.argv[1]])
from lmm_tui.textual_patches.install import PATCHES, is_installed
print("in place:", *[patch.name for patch in PATCHES if is_installed(patch.name)], "end")
sys.exit(code)
"""
RENAMED = {
    "_dirty_regions": "_stale_regions",
    "_exchange_repaint_regions": "_take_repaint_regions",
    "BackgroundScreen": "TintedScreen",
    "SelectSelector": "DefaultSelector",
    "_skip": "_leaves_out",
    "refresh_styles": "restyle",
}
"""A private part for every patch, as another release of Textual may call it."""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[FakeRun]:
    made = FakeRun(tmp_path / "first-words")
    made.train(1, 100)
    yield made
    made.close()


@pytest.fixture
def other_textual(tmp_path: Path) -> Path:
    """A folder with a copy of Textual that differs inside."""
    folder = tmp_path / "other"
    # With what is compiled of it, which fits the files that stay as they are.
    shutil.copytree(Path(textual.__file__).parent, folder / "textual")
    names = re.compile(rf"\b({'|'.join(RENAMED)})\b")
    for file in (folder / "textual").rglob("*.py"):
        text = file.read_text("utf-8")
        if (other := names.sub(lambda found: RENAMED[found[0]], text)) != text:
            file.write_text(other, "utf-8")
    return folder


def visit(run: FakeRun, tmp_path: Path, env: Mapping[str, str]) -> str:
    """Open the dashboard of a run, turn a page, open dialogs, quit; what was said at the end."""
    terminal = Pty([sys.executable, "-c", MONITOR, str(run.dir.path)], tmp_path, os.environ | env)

    def shown(text: str) -> None:
        until(lambda: terminal.shows(text) or not terminal.look(0.05))
        assert terminal.shows(text), terminal.seen[-3000:].decode("utf-8", "replace")

    try:
        shown("RUNNING")
        terminal.press("]")
        shown("learning rate")
        terminal.press("?")
        shown("names for keys.toml")
        terminal.press("\x1b")
        run.train(101, 150)
        shown("150 / 1,000")  # Only the screen on top looks at the run.
        terminal.press("q")
        shown("Detach")
        terminal.press("d")
        shown(" end")
        return terminal.seen.decode("utf-8", "replace").rpartition("\x1b[?1049l")[2]
    finally:
        terminal.process.kill()
        terminal.process.wait()
        terminal.close()


def test_all_patches_fit_the_textual_that_is_installed() -> None:
    assert differences() == {patch.name: "" for patch in PATCHES}


def test_the_cockpit_works_with_all_patches(run: FakeRun, tmp_path: Path) -> None:
    said = visit(run, tmp_path, {})
    assert f"in place: {' '.join(patch.name for patch in PATCHES)} end" in said


def test_the_cockpit_works_without_any(run: FakeRun, tmp_path: Path) -> None:
    said = visit(run, tmp_path, {PLAIN: "1"})
    assert "in place: end" in said and "has changed inside" not in said


def test_where_private_parts_are_missing_the_cockpit_works_and_says_so(
    run: FakeRun, tmp_path: Path, other_textual: Path
) -> None:
    said = visit(run, tmp_path, {"PYTHONPATH": str(other_textual)})
    assert "in place: end" in said
    assert said.count("has changed inside") == 1
    assert "Compositor" in said and "BackgroundScreen" in said and "run_input_thread" in said


@pytest.mark.parametrize(
    "patch",
    [
        Patch("gone", {}, {"textual.nothing:Thing": ()}),
        Patch("gone", {}, {"textual.screen:Screen.nothing": ()}),
        Patch("changed", {"textual.screen:Screen.render": "01234567"}, {}),
        Patch("changed", {}, {"textual.screen:Screen.render": ("a_name_that_it_does_not_use",)}),
    ],
)
def test_what_is_not_as_expected_is_named(patch: Patch) -> None:
    assert patch.difference() in {**patch.replaced, **patch.used}
    assert patch.difference() in explain({patch.name: patch.difference()})


def test_the_doctor_says_what_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> doctor_checks.CheckResult:
        [finding] = doctor_checks._textual()
        return finding

    assert found().verdict == "ok"
    changed = Patch("changed", {}, {"textual.nothing:Thing": ()})
    monkeypatch.setattr(patching, "PATCHES", [changed])
    assert found().verdict == "note" and "textual.nothing:Thing" in found().text
    monkeypatch.setenv(PLAIN, "1")
    assert found().verdict == "note" and PLAIN in found().text


# The driver of the terminal

APP = """
import asyncio, os, signal
from textual.app import App
from lmm_tui.terminal.capture import Terminal
from lmm_tui.textual_patches.terminal_driver import TerminalDriver

class Waiting(App):
    def on_mount(self):
        loop = asyncio.get_running_loop()
        signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(self.exit))

    def on_unmount(self):
        # The driver has been stopped, and the loop still runs.
        os.kill(os.getpid(), signal.SIGCONT)

with Terminal():
    Waiting(driver_class=TerminalDriver).run()
"""


@pytest.mark.parametrize("how", ["close", "SIGHUP"])
def test_a_sigcont_starts_no_thread_that_outlives_the_app(tmp_path: Path, how: str) -> None:
    terminal = Pty([sys.executable, "-c", APP], tmp_path, os.environ)
    until(lambda: terminal.shows("\x1b[?1049h") or not terminal.look(0.05))
    for _ in range(3):
        terminal.seen = b""
        terminal.process.send_signal(signal.SIGCONT)
        # It takes the terminal anew, whose contents may have been overwritten.
        until(lambda: terminal.shows("\x1b[?1049h") or not terminal.look(0.05))
    terminal.end(how)
    try:
        deadline = time.monotonic() + 60
        while terminal.process.poll() is None:
            assert time.monotonic() < deadline, "it does not end"
            if how == "close" or not terminal.look(0.05):
                time.sleep(0.05)
    finally:
        terminal.process.kill()
        terminal.process.wait()
        terminal.close()
