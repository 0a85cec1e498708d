"""A list of 2,000 runs, filtered by a setting, against reading the same files by the library.

Then what a person waits for: the first paint of the screen with them and with their settings, the
memory that takes, and ten of them compared.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
import tomllib
from pathlib import Path

import psutil

from benchmarks.made_runs import make_finished_run
from benchmarks.measure import QUICK, medians, report, seconds
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.screens.comparison_tables import tables_of
from lmm_tui.cockpit.widgets.table import Table
from lmm_tui.runs.comparison import Comparison
from lmm_tui.runs.run_columns import RunColumns
from lmm_tui.runs.run_details import RunDetails
from lmm_tui.runs.run_filter import filtered
from lmm_tui.runs.run_list import RunList, listed_runs

TITLE = "runs: 2,000 runs listed and filtered by a setting, against reading their files"

LIMIT = 5.0

_RUNS = 50 if QUICK else 2_000
_VERDICT = {"level": "ok", "headline": "healthy", "step": None, "text": "healthy"}


def run() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "runs"
        os.environ["XDG_CACHE_HOME"] = f"{scratch}/cache"
        for number in range(_RUNS):
            made = make_finished_run(folder / f"run-{number}", 1)
            made.write_config(f"[optim]\nlr = {1e-4 * (1 + number % 9)}\n[train]\nsteps = 100\n")
            status = json.loads(made.status_file.read_text())
            made.status_file.write_text(json.dumps(status | {"verdict": _VERDICT}))

        def ours() -> None:
            listed = RunList(folder).read()
            assert len(filtered(listed, ["lr<2e-4"], RunColumns(listed, RunDetails(folder)))) == -(
                -_RUNS // 9
            )

        def bare() -> None:
            for path in folder.iterdir():
                for name in ("run.json", "status.json"):
                    json.loads((path / name).read_bytes())
                tomllib.loads((path / "config.toml").read_text())

        _first_paint(folder)
        ten = listed_runs([folder / f"run-{number}" for number in range(10)])
        compared = Comparison(ten, RunDetails(folder))

        def compare() -> None:
            compared.read()
            tables_of(compared)

        print(f"ten compared: {seconds(compare):.2f} s, again {seconds(compare):.3f} s")
        taken = medians({"ours": lambda: seconds(ours), "bare": lambda: seconds(bare)}, 5)
    report(f"runs, {_RUNS:,}", taken["ours"], taken["bare"], "reading files", at_most=LIMIT)


def _first_paint(folder: Path) -> None:
    """How long until the rows, and until the columns of settings, are on the screen."""
    process = psutil.Process()
    before = process.memory_info().rss

    async def look() -> None:
        began, spent = time.perf_counter(), time.process_time()
        app = CockpitApp(runs_dir=folder)
        async with app.run_test(size=(160, 50)) as pilot:
            while not app.screen.query(Table) or not app.screen.query_one(Table).rows:
                await pilot.pause(0.01)
            wall, cpu = time.perf_counter() - began, time.process_time() - spent
            grown = (process.memory_info().rss - before) / 1e6
            print(
                f"first paint of {_RUNS:,}: {wall:.2f} s ({cpu:.2f} s of processor), {grown:.0f} MB"
            )

    asyncio.run(look())
