"""The ranks of a run on the screen: 2, 8 and 64 of them, a hang by name, their stacks and logs."""

import time
from pathlib import Path

import pytest
from fake_ranks import some_beats, write_group
from fake_run import FakeRun
from looking import screen_text, settled, steady_text, strips, until

from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.engine.parallel.beats import attempt_folder, stacks_file
from lmm_tui.engine.parallel.rank_watch import stack_request
from lmm_tui.engine.run.reader import Reader

NOW = 1_800_000_000.0
SIZES = [(200, 50), (80, 24)]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    made = FakeRun(tmp_path / "runs" / "many", started=NOW - 100)
    made.train(1, 30)
    return made


async def opened(pilot, app):
    await pilot.pause()
    await pilot.press("9")
    await until(pilot, lambda: "waited" in screen_text(app))
    await until(pilot, lambda: "a step" in screen_text(app))
    await settled(pilot)


GROUPS = {
    "2-one-was-killed": (some_beats(2), {"killed": 1}),
    "8-all-wait-for-one": (some_beats(8, gpus=4, stuck=5), {}),
    "64-as-cells": (some_beats(64), {}),
}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("group", GROUPS)
async def test_ranks_on_the_screen(run, snapshot, size, group):
    beats, more = GROUPS[group]
    write_group(run.dir, beats, **more)
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=size) as pilot:
        await opened(pilot, app)
        assert steady_text(app) == snapshot


async def test_a_run_of_one_process_offers_no_ranks(run):
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.pause()
        await pilot.press("6")
        await pilot.pause()
        assert "9 ranks" not in screen_text(app)
        write_group(run.dir, some_beats(2))
        await pilot.press("5")
        await until(pilot, lambda: "9 ranks" in screen_text(app))


async def test_while_ranks_start_again_header_and_screen_say_which_attempt_it_is(run):
    write_group(run.dir, some_beats(2), killed=1, restarting=True)
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.pause()
        await pilot.press("9")
        await until(pilot, lambda: screen_text(app).count("restarting 1/3") == 2)
        assert "RESTARTING" in screen_text(app)


def frames(*places: str) -> str:
    lines = [f'  File "/work/{place}.py", line {line} in {place}' for line, place in
             enumerate(places, start=7)]  # fmt: skip
    return "\n".join(lines)


async def test_one_key_groups_the_stacks_of_all_ranks(run):
    write_group(run.dir, some_beats(8, stuck=5))
    app = CockpitApp(Reader(run.dir.path))
    files = [stacks_file(run.dir, 0, rank) for rank in range(8)]
    files[0].parent.mkdir(parents=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app)
        await pilot.press("u")
        await until(pilot, lambda: stack_request(run.dir))
        for rank, file in enumerate(files):
            place = ("read_rows", "next_batch") if rank == 5 else ("all_reduce", "step")
            reader = frames("wait_for_disk")
            file.write_text(
                f"Thread 0x{rank}1 (most recent call first):\n{reader}\n\n"
                f"Current thread 0x{rank}2 (most recent call first):\n{frames(*place)}\n"
            )
        await until(pilot, lambda: "1 × rank 5" in screen_text(app))
        text = screen_text(app)
        assert text.index("1 × rank 5") < text.index("7 × rank 0-4, 6, 7")
        assert "read_rows.py:7 read_rows" in text and "all_reduce.py:7 all_reduce" in text
        assert text.count("wait_for_disk") == 2  # The file's and the function's name, once.
        await pilot.press("escape")
        await until(pilot, lambda: "a step" in screen_text(app))


async def test_logs_are_one_list_with_the_odd_line_on_top(run):
    write_group(run.dir, some_beats(8))
    folder = attempt_folder(run.dir, 0)
    folder.mkdir(parents=True)
    for rank in range(8):
        odd = "CUDA error: an illegal access\n" if rank == 3 else ""
        text = f"12:00:0{rank} rank {rank} is up\n{odd}step 1\n"
        (folder / f"rank-{rank}.log").write_text(text)
    app = CockpitApp(Reader(run.dir.path))
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app)
        await pilot.press("l")
        await until(pilot, lambda: "CUDA error" in screen_text(app))
        page = app.screen.query_one("#ranktext").content_region  # The screen below shows around it.
        lines = strips(app)[page.y : page.bottom]
        shown = [line.crop(page.x, page.right).text.strip() for line in lines]
        assert shown[0].startswith("rank 3  CUDA error")
        assert shown[1].startswith("×8  12:00:00 rank 0 is up")
        assert shown[2].startswith("×8  step 1")
