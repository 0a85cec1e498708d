"""What is on the screen is written as files that are told and that replace nothing."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from looking import screen_text, settled, strips, toasts, until
from made_runs import make_run

from lmm_tui.cli import main
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.screens.dialogs import ChoiceDialog
from lmm_tui.engine.run.reader import Reader


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    head, *rows = csv.reader(path.read_text().splitlines())
    return head, rows


async def written(pilot, folder: Path, keys: str, pattern: str, count: int = 1) -> list[Path]:
    """Choose from the dialog; the files, once the toast has told them."""
    await pilot.press("E")
    assert isinstance(pilot.app.screen, ChoiceDialog)
    await pilot.press(keys)
    await until(pilot, lambda: len(list(folder.glob(pattern))) == count)
    found = sorted(folder.glob(pattern))
    await until(
        pilot, lambda: any(str(path) in said for said in toasts(pilot.app) for path in found)
    )
    await until(pilot, lambda: "asked: export" not in screen_text(pilot.app))
    return found


async def test_curves_are_written_from_edge_to_edge(tmp_path: Path) -> None:
    run = make_run(tmp_path, rows=100)
    app = CockpitApp(Reader(run.path))
    async with app.run_test(size=(200, 50), notifications=True) as pilot:
        await pilot.pause()
        (whole,) = await written(pilot, run.plots, "c", "*.csv")
        head, rows = read(whole)
        assert head == ["step", "time", "tokens", "train/loss", "val/loss", "train/lr"]
        assert [row[0] for row in rows] == [str(step) for step in range(1, 101)]
        await pilot.press("home", "plus", "home")
        both = await written(pilot, run.plots, "c", "*.csv", 2)
    (part,) = set(both) - {whole}
    assert [row[0] for row in read(part)[1]] == [str(step) for step in range(1, 51)]
    assert part.name.endswith("-0-50.csv")


async def test_one_chart_alone_is_one_curve_and_nothing_is_replaced(tmp_path: Path) -> None:
    run = make_run(tmp_path, rows=30)
    app = CockpitApp(Reader(run.path))
    async with app.run_test(size=(200, 50), notifications=True) as pilot:
        await pilot.pause()
        app.screen.query_one("#lr").focus()
        await pilot.press("enter", "x", "x")
        (first,) = await written(pilot, run.plots, "c", "*.csv")
        before = first.read_bytes()
        assert first.name.startswith("learning-rate-")
        assert (
            read(first)[0] == ["step", "time", "tokens", "train/lr"] and len(read(first)[1]) >= 29
        )
        assert len(await written(pilot, run.plots, "c", "*.csv", 2)) == 2
        assert first.read_bytes() == before


async def test_the_screen_is_written_as_it_is_without_the_dialog(tmp_path: Path) -> None:
    run = make_run(tmp_path, "first-words", rows=30)
    app = CockpitApp(Reader(run.path))
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await pilot.pause()
        (picture,) = await written(pilot, run.plots, "s", "screen-*.svg")
    text = picture.read_text().replace("&#160;", " ")
    assert text.startswith("<svg") and "first-words" in text and "Cancel" not in text
    assert len(text) < 200_000  # A frame of a terminal, not what Python says of its parts.


async def test_a_terminal_of_sixteen_colours_writes_the_picture_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, rows=30)

    async def colours() -> tuple[set[str], set[str]]:
        app = CockpitApp(Reader(run.path))
        async with app.run_test(size=(120, 30)) as pilot:
            await settled(pilot)
            drawn = set(re.findall(r"fill: (#\w+)", app.export_screenshot()))
            await settled(pilot)
            lines = strips(app)
        styles = [segment.style for strip in lines for segment in strip if segment.style]
        return drawn, {style.color.name for style in styles if style.color}

    in_full, _ = await colours()
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv("TERM", "xterm")
    drawn, shown = await colours()
    assert drawn == in_full
    assert not any(name.startswith("#") for name in shown)


async def test_staying_writes_nothing_and_no_curve_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    app = CockpitApp(Reader(run.path))
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await pilot.pause()
        await pilot.press("E", "escape", "E", "c")
        await until(pilot, lambda: any("No curve" in said for said in toasts(app)))
    assert not run.plots.exists() or not list(run.plots.iterdir())


async def test_a_folder_that_takes_nothing_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path, rows=5)
    app = CockpitApp(Reader(run.path))
    run.plots.write_text("mine")  # It is found there only when the picture is to be written.
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await pilot.pause()
        await pilot.press("E", "s")
        await until(pilot, lambda: any("plots" in said for said in toasts(app)))
    assert run.plots.read_text() == "mine"


def test_the_command_writes_the_same_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, target = make_run(tmp_path, rows=30), tmp_path / "part.csv"
    words = ["export", str(run.path), "--to", "csv", "-o", str(target)]
    part = ["--from-step", "10", "--to-step", "12", "--metric", "train/lr"]
    assert main.run([*words, *part]) == 0
    head, rows = read(target)
    assert head == ["step", "time", "tokens", "train/lr"] and [row[0] for row in rows] == [
        "10",
        "11",
        "12",
    ]
    for wrong, told in ((["--metric", "nope"], "nope"), (["--from-step", "99"], "--from-step")):
        assert main.run([*words[:-1], str(tmp_path / "none.csv"), *wrong]) == 2
        assert told in capsys.readouterr().err and not (tmp_path / "none.csv").exists()
