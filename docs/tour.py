"""Draw every screen of the cockpit on a real run as the SVG pictures of the tour and the README.

`python docs/tour.py RUN` opens the run on each screen; two of the runs beside it in `--runs-dir`
are laid over each other. No terminal is needed. The pictures name no font of the web: they look
the same offline. `--lang zh` draws those of the Chinese tour. `--all FOLDER` draws every screen at
four sizes, dark and light, to be looked at.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from textual.pilot import Pilot

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.messages import Departure
from lmm_tui.cockpit.preferences import Preferences
from lmm_tui.cockpit.screens.base_screen import BaseScreen
from lmm_tui.cockpit.screens.configure import ConfigureScreen
from lmm_tui.cockpit.themes import DARK, LIGHT
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.find_run import find_run
from lmm_tui.engine.run.reader import Reader
from lmm_tui.errors import LmmError
from lmm_tui.i18n import language
from lmm_tui.terminal import capabilities

FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', 'Noto Sans Mono CJK SC', monospace"
PATIENCE_S = 180.0
SETTLE_S = 1.0
_PICTURES = Path(__file__).parent / "pictures"
FOLDERS = {"en": _PICTURES, "zh": _PICTURES / "zh"}
_KEYS = {" ": "space", "]": "right_square_bracket"}


@dataclass(frozen=True)
class View:
    """A picture: the keys that lead to it from the dashboard, and the size of the terminal."""

    name: str
    keys: Sequence[str] = ()
    size: tuple[int, int] = (150, 42)


VIEWS = (
    View("dashboard"),
    View("dashboard-80x24", size=(80, 24)),
    View("zoom", ("tab", "plus", "plus", "s", *["shift+left"] * 30, "enter")),
    View("metrics", ("]", "]", "]")),
    View("search", ("slash", *"grad")),
    View("help", ("question_mark",)),
    View("palette", ("ctrl+p", *"check")),
    View("runs", ("2",)),
    View("overlay", ("2", "home", "space", "space", "C")),
    View("differences", ("2", "home", "space", "space", "D", "]", "]")),
    View("sweeps", ("2", "Q")),
    View("samples", ("3",)),
    View("chat", ("3", "i", *"Once upon a time", "enter")),
    View("tokens", ("3", "w", *["down"] * 3, *["right"] * 6)),
    View("evaluate", ("4",)),
    View("checkpoints", ("5",)),
    View("log", ("6",)),
    View("system", ("7",)),
)
FORMS = (View("configure"), View("configure-stage", ("right", "pagedown")))
MORE = (
    View("spikes", ("B",)),
    View("ranks", ("9",)),
    View("settings", ("L",)),
    View("quit", ("q",)),
)
"""Drawn by `--all` only."""
SIZES = ((200, 50), (120, 36), (80, 24), (60, 15))
THEMES = (DARK.name, LIGHT.name)


async def of_run(run: Path, view: View, theme: str = DARK.name) -> str:
    """A view of a run, once all of it has been read and drawn."""
    session = Reader(run)
    app = CockpitApp(session, habits=Preferences(theme=theme))
    async with app.run_test(size=view.size) as pilot:
        async with asyncio.timeout(PATIENCE_S):
            while session.loading or not session.series.names():
                await pilot.pause(0.1)
        return await _drawn(app, pilot, view, f"lmm-tui monitor {session.run_dir.name}")


async def of_form(view: View, theme: str = DARK.name) -> str:
    """A view of the configure screen, once it knows the devices and the data."""
    habits = Preferences(theme=theme)
    app = CockpitApp(config=RunConfig(), start=_no_start, habits=habits)
    async with app.run_test(size=view.size) as pilot:
        async with asyncio.timeout(PATIENCE_S):
            while not (
                isinstance(app.screen, ConfigureScreen)
                and app.screen.known.devices
                and app.screen.known.data
            ):
                await pilot.pause(0.1)
        return await _drawn(app, pilot, view, "lmm-tui launch")


async def _drawn(app: CockpitApp, pilot: Pilot[Departure], view: View, title: str) -> str:
    await pilot.pause(SETTLE_S)
    for key in view.keys:
        await pilot.press(_KEYS.get(key, key))
        await pilot.pause(0.05 if key.startswith("shift") else 0.3)
        async with asyncio.timeout(PATIENCE_S):
            while isinstance(app.screen, BaseScreen) and app.screen.busy:
                await pilot.pause(0.1)
    await pilot.pause(SETTLE_S)
    return portable(app.export_screenshot(title=title))


def _no_start(config: RunConfig) -> Reader:
    raise AssertionError("nobody presses Start here")


def portable(svg: str) -> str:
    """Without web fonts, and with the same ids each time so that a diff shows what changed."""
    svg = re.sub(r"@font-face\s*\{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"terminal-\d+", "terminal", svg)
    return re.sub(r"font-family:\s*Fira Code, monospace|font-family:\s*arial", _family, svg)


def _family(found: re.Match[str]) -> str:
    return f"font-family: {FONTS}"


def _draw_all(run: Path, folder: Path, only: str | None) -> None:
    views = [view for view in (*VIEWS, *MORE, *FORMS) if only in (None, view.name)]
    for view, size, theme in product(views, SIZES, THEMES):
        if view.size != View.size:
            continue  # The same as another one, at a size of its own.
        sized = replace(view, size=size)
        drawn = of_form(sized, theme) if view in FORMS else of_run(run, sized, theme)
        name = f"{view.name}-{size[0]}x{size[1]}-{theme}"
        _write(folder, replace(view, name=name), asyncio.run(drawn))


def _write(folder: Path, view: View, svg: str) -> None:
    path = folder / f"{view.name}.svg"
    path.write_text(svg, encoding="utf-8")
    print(f"{path}: {len(svg) / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", help="name or folder of a run; default: the newest")
    parser.add_argument("--runs-dir", default="runs", help="folder that holds the runs")
    parser.add_argument("--only", metavar="NAME", help="draw one picture")
    parser.add_argument("--lang", choices=tuple(FOLDERS), default="en", help="of the interface")
    parser.add_argument("--all", metavar="FOLDER", type=Path, help="every size and theme, into it")
    asked = parser.parse_args()
    capabilities.draw_for_files()
    language.use(asked.lang)
    folder = asked.all or FOLDERS[asked.lang]
    folder.mkdir(parents=True, exist_ok=True)
    run = find_run(asked.run, asked.runs_dir)
    if asked.all:
        _draw_all(run.path, folder, asked.only)
        return
    for view in VIEWS:
        if asked.only in (None, view.name):
            _write(folder, view, asyncio.run(of_run(run.path, view)))
    for view in FORMS:
        if asked.only in (None, view.name):
            _write(folder, view, asyncio.run(of_form(view)))


if __name__ == "__main__":
    try:
        main()
    except LmmError as error:
        raise SystemExit(str(error)) from None
