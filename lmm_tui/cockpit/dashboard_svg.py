"""The dashboard of a run as SVG, without a terminal: what `E` writes of a screen, for scripts.

It opens the same app as `monitor` does, on a screen that nobody sees, and waits until all is drawn.
"""

from __future__ import annotations

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.screens.too_small import SMALLEST
from lmm_tui.errors import LmmError
from lmm_tui.runs.session import RunSession
from lmm_tui.terminal.safe_text import clean

_LOOK_AGAIN_S = 0.1


class SizeError(LmmError):
    """Columns and rows that are none, or too few."""


def read_size(text: str) -> tuple[int, int]:
    """Columns and rows of `120x36`. Raises SizeError."""
    columns, _, rows = text.partition("x")
    if not (columns.isdecimal() and rows.isdecimal()):
        raise SizeError(f"--size {clean(text)}: give columns x rows, such as 120x36")
    size = int(columns), int(rows)
    if size[0] < SMALLEST.width or size[1] < SMALLEST.height or max(size) > 1000:
        raise SizeError(f"--size {text}: from {SMALLEST.width}x{SMALLEST.height} to 1000x1000")
    return size


async def dashboard_picture(session: RunSession, size: tuple[int, int]) -> str:
    """The first page, as soon as the run has been read and nothing on it moves any more."""
    app = CockpitApp(session)
    async with app.run_test(size=size) as pilot:
        picture = title = clean(session.view.info.name)
        while session.loading or picture != (picture := app.export_screenshot(title=title)):
            await pilot.pause(_LOOK_AGAIN_S)
        return picture


if __name__ == "__main__":
    import asyncio
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "train.log"
        log.write_text("step: 1, loss: 2.5\nstep: 2, loss: 2.25\n")
        picture = asyncio.run(dashboard_picture(RunSession(log), read_size("80x24")))
    print(f"{len(picture) / 1000:.0f} kB of SVG")
    assert picture.startswith("<svg") and "2.25" in picture
    print("=== 自测通过 ===")
