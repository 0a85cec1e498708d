"""A list of 2,000 runs, filtered by a setting, against reading the same files by the library."""

from __future__ import annotations

import json
import tempfile
import tomllib
from pathlib import Path

from benchmarks.made_runs import make_finished_run
from benchmarks.measure import QUICK, medians, report, seconds
from lmm_tui.runs.run_columns import RunColumns
from lmm_tui.runs.run_details import RunDetails
from lmm_tui.runs.run_filter import filtered
from lmm_tui.runs.run_list import RunList

TITLE = "runs: 2,000 runs listed and filtered by a setting, against reading their files"

LIMIT = 5.0

_RUNS = 50 if QUICK else 2_000
_VERDICT = {"level": "ok", "headline": "healthy", "step": None, "text": "healthy"}


def run() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
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

        taken = medians({"ours": lambda: seconds(ours), "bare": lambda: seconds(bare)}, 5)
    report(f"runs, {_RUNS:,}", taken["ours"], taken["bare"], "reading files", at_most=LIMIT)
