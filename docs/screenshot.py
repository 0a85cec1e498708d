"""Draw the cockpit's screens on a run as the SVG pictures that the README shows.

`python docs/screenshot.py runs/NAME` opens the dashboard on that run, `--configure` the configure
screen. No terminal is needed. The pictures name no font of the web: they look the same offline.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from pathlib import Path

from engine.config import RunConfig
from engine.rundir import find_run
from lmm_errors import LmmError
from lmm_tui.app import CockpitApp
from lmm_tui.screens.configure import ConfigureScreen
from lmm_tui.session import RunSession

FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', 'Noto Sans Mono CJK SC', monospace"
PATIENCE_S = 60.0


async def dashboard(run: Path, size: tuple[int, int]) -> str:
    """The dashboard on a run, once all of it has been read and drawn."""
    session = RunSession(run)
    app = CockpitApp(session)
    async with app.run_test(size=size) as pilot:
        async with asyncio.timeout(PATIENCE_S):
            while session.loading or not session.series.names():
                await pilot.pause(0.1)
        await pilot.pause(1.0)
        return _portable(app.export_screenshot(title=f"lmm-tui monitor {session.run_dir.name}"))


async def configure(size: tuple[int, int]) -> str:
    """The configure screen, once it knows the devices and the data."""
    app = CockpitApp(config=RunConfig(), start=_no_start)
    async with app.run_test(size=size) as pilot:
        async with asyncio.timeout(PATIENCE_S):
            while not (isinstance(app.screen, ConfigureScreen) and app.screen.settled):
                await pilot.pause(0.1)
        await pilot.pause(0.5)
        return _portable(app.export_screenshot(title="lmm-tui launch"))


def _no_start(config: RunConfig) -> RunSession:
    raise AssertionError("nobody presses Start here")


def _portable(svg: str) -> str:
    """Without web fonts, and with the same ids each time so that a diff shows what changed."""
    svg = re.sub(r"@font-face\s*\{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"terminal-\d+", "terminal", svg)
    return re.sub(r"font-family:\s*Fira Code, monospace|font-family:\s*arial", _family, svg)


def _family(found: re.Match[str]) -> str:
    return f"font-family: {FONTS}"


def _size(text: str) -> tuple[int, int]:
    columns, _, lines = text.partition("x")
    return int(columns), int(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", help="name or folder of a run; default: the newest")
    parser.add_argument("--runs-dir", default="runs", help="folder that holds the runs")
    parser.add_argument("--configure", action="store_true", help="draw the configure screen")
    parser.add_argument("--size", type=_size, default=(150, 42), metavar="COLUMNSxLINES")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.svg")
    asked = parser.parse_args()
    folder = Path(__file__).parent
    if asked.configure:
        svg, default = asyncio.run(configure(asked.size)), folder / "configure.svg"
    else:
        run = find_run(asked.run, asked.runs_dir)
        svg, default = asyncio.run(dashboard(run.path, asked.size)), folder / "dashboard.svg"
    output = asked.output or default
    output.write_text(svg, encoding="utf-8")
    print(f"{output}: {len(svg) / 1000:.0f} kB")


if __name__ == "__main__":
    try:
        main()
    except LmmError as error:
        raise SystemExit(str(error)) from None
