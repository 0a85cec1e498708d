"""The dashboard of a run as SVG, for `plot --screen`: what `E` writes, without a terminal.

The app of `monitor` runs headless until the run has been read and the screen does not change.
"""

from __future__ import annotations

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.screens.too_small import SMALLEST
from lmm_tui.engine.run.reader import Reader
from lmm_tui.errors import LmmError
from lmm_tui.terminal.safe_text import clean

_POLL_S = 0.1


class SizeError(LmmError):
    """A size that is no columns x rows, or out of range."""


def read_size(text: str) -> tuple[int, int]:
    """Parse columns and rows such as `120x36`. Raises SizeError."""
    columns, _, rows = text.partition("x")
    if not (columns.isdecimal() and rows.isdecimal()):
        raise SizeError("--size {text}: give columns x rows, such as 120x36", text=clean(text))
    size = int(columns), int(rows)
    if size[0] < SMALLEST.width or size[1] < SMALLEST.height or max(size) > 1000:
        raise SizeError(
            "--size {text}: from {width}x{height} to 1000x1000",
            text=text,
            width=SMALLEST.width,
            height=SMALLEST.height,
        )
    return size


async def dashboard_picture(session: Reader, size: tuple[int, int]) -> str:
    """The first page as SVG, once two captures in a row are equal."""
    app = CockpitApp(session)
    async with app.run_test(size=size) as pilot:
        picture = title = clean(session.view.info.name)
        while session.loading or picture != (picture := app.export_screenshot(title=title)):
            await pilot.pause(_POLL_S)
        return picture


if __name__ == "__main__":
    print(read_size("80x24"))
    print("=== 自测通过 ===")
