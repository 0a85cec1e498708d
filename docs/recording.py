"""Record the moving picture of the README: a real run from the form to the cure of a broken one.

`python docs/recording.py` starts a run of `nano` from the form, waits for the loss to fall, asks
for a story, sets the learning rate a thousand times too high, waits for the verdict and cures it by
one key. The keys are those a person would press; what is shown is what the run answered. It takes
some minutes. Chromium draws the frames (`--browser`), Pillow makes them a GIF.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from textual.pilot import Pilot
from tour import FOLDERS, portable

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.messages import Departure
from lmm_tui.cockpit.screens.configure import ConfigureScreen
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.reader import Reader
from lmm_tui.errors import LmmError
from lmm_tui.i18n import language
from lmm_tui.runs import detached
from lmm_tui.terminal import capabilities
from lmm_tui.textual_patches.install import install

SIZE = (112, 32)
WIDTH = 900
"""Pixels of the picture."""
COLOURS = 96
PATIENCE_S = 1200.0
_SETTLE_S = 0.6
SETTINGS = {
    "model.preset": "nano",
    "name": "story",
    "train.steps": 600,
    "train.batch_size": 16,
    "data.seq_len": 128,
    "log.prompts": ["Once upon a time"],
    "log.sample_tokens": 40,
}
BROKEN_LR = "3"

CAPTIONS = {
    "form": "lmm-tui    a form with defaults that are good enough",
    "start": "f5: it trains",
    "fall": "the loss falls",
    "ask": "p: ask the live model for a story",
    "story": "its story",
    "break": "L: let us break it, with a learning rate a thousand times too high",
    "broken": "the loss rises",
    "verdict": "a red verdict, and the key that cures it",
    "cure": "b: back to the last good checkpoint and its learning rate",
    "well": "and on it learns",
}


@dataclass
class Recording:
    """Frames as they were drawn, each with the seconds for which it is shown."""

    pilot: Pilot[Departure]
    frames: list[tuple[str, float]] = field(default_factory=list)

    async def take(self, caption: str, seconds: float) -> None:
        """A frame of the screen as it is now."""
        await self.pilot.pause(_SETTLE_S)
        title = CAPTIONS[caption]
        self.frames.append((portable(self.pilot.app.export_screenshot(title=title)), seconds))
        print(f"{len(self.frames):3} {caption}", flush=True)

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not reached():
                await self.pilot.pause(0.2)


async def record(config: RunConfig) -> list[tuple[str, float]]:
    """The frames of the whole story; the run is stopped at its end."""
    started: list[Reader] = []

    def start(config: RunConfig) -> Reader:
        started.append(Reader(detached.start(config).run.path))
        return started[-1]

    app = CockpitApp(config=config, start=start)
    async with app.run_test(size=SIZE, notifications=False) as pilot:
        film = Recording(pilot)
        await film.until(lambda: isinstance(app.screen, ConfigureScreen) and _knows(app.screen))
        await film.take("form", 2.5)
        await pilot.press("f5")
        await film.until(lambda: bool(started) and started[0].view.status.step >= 2)
        try:
            await _run(film, started[0])
        finally:
            started[0].send("stop")
        return film.frames


def _knows(form: ConfigureScreen) -> bool:
    return bool(form.known.devices and form.known.data)


async def _run(film: Recording, run: Reader) -> None:
    pilot = film.pilot

    def step() -> int:
        return run.view.status.step

    def answered(command: str, after: float) -> bool:
        told = (event.message for event in run.events if event.time > after)
        return any(text.startswith(f"{command}:") for text in told)

    def at(number: int) -> Callable[[], bool]:
        return lambda: step() >= number

    await film.take("start", 1.2)
    for reached in (20, 60, 120, 200):
        await film.until(at(reached))
        await film.take("fall", 0.5)
    asked = time.time()
    await pilot.press("p")
    await film.take("ask", 1.2)
    await film.until(lambda: answered("sample", asked))
    await film.take("story", 2.5)
    await pilot.press("c")
    await film.until(lambda: answered("checkpoint", asked))
    await pilot.press("L")
    await pilot.press(*["backspace"] * 8, *BROKEN_LR)
    await film.take("break", 2.0)
    broken = time.time()
    await pilot.press("enter", "enter")
    await film.until(lambda: answered("set", broken))
    changed = step()
    for more in (5, 12):
        await film.until(at(changed + more))
        await film.take("broken", 0.6)
    await film.until(lambda: "back&#160;to&#160;step" in pilot.app.export_screenshot())
    await film.take("verdict", 3.0)
    cured = time.time()
    await pilot.press("b", "y")  # On a logarithmic axis the rest is to be seen, too.
    await film.until(lambda: answered("rollback", cured))
    back = step()
    await film.take("cure", 1.5)
    for more in (6, 14, 22):
        await film.until(at(back + more))
        await film.take("well", 1.0 if more < 22 else 3.0)


def drawn(svg: str, browser: str, folder: Path) -> Image.Image:
    """An SVG picture as pixels, by a browser without a window."""
    source, picture = folder / "frame.svg", folder / "frame.png"
    source.write_text(svg, encoding="utf-8")
    box = svg.split('viewBox="0 0 ', 1)[1].split('"', 1)[0].split()
    width, height = (int(float(one)) for one in box)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--window-size={width},{height}", f"--screenshot={picture}", f"file://{source}"]
    subprocess.run(command, check=True, capture_output=True)
    image = Image.open(io.BytesIO(picture.read_bytes())).convert("RGB")
    return image.resize((WIDTH, round(WIDTH * height / width)), Image.Resampling.LANCZOS)


def write(frames: list[tuple[str, float]], browser: str, path: Path) -> None:
    """All frames as one GIF with one palette, so that only what changes takes room."""
    with tempfile.TemporaryDirectory() as place:
        images = [drawn(svg, browser, Path(place)) for svg, _ in frames]
    sheet = Image.new("RGB", (WIDTH, sum(image.height for image in images)))
    for number, image in enumerate(images):
        sheet.paste(image, (0, number * image.height))
    palette = sheet.quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
    first, *rest = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [round(1000 * seconds) for _, seconds in frames]
    first.save(path, save_all=True, append_images=rest, duration=durations, loop=0, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {len(frames)} frames")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browser", default="chromium", help="what draws an SVG picture")
    asked = parser.parse_args()
    capabilities.draw_for_files()
    language.use("en")
    install()
    with tempfile.TemporaryDirectory() as place:
        config = resolve(assignments=SETTINGS | {"runs_dir": place})
        frames = asyncio.run(record(config))
    write(frames, asked.browser, FOLDERS["en"] / "recording.gif")


if __name__ == "__main__":
    try:
        main()
    except LmmError as error:
        raise SystemExit(str(error)) from None
