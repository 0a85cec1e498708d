"""A report on ten long runs: its size against the limit, and its time against reading their files.

The baseline parses the same rows by orjson and keeps the numbers of every metric in arrays.
"""

from __future__ import annotations

import tempfile
from array import array
from pathlib import Path

import orjson

from benchmarks.made_runs import make_finished_run
from benchmarks.measure import QUICK, medians, report, report_count, seconds
from lmm_tui.report.html_page import html_page
from lmm_tui.report.report_data import collect

TITLE = "report: a page of ten runs of 100,000 steps, against reading their rows"

LIMIT = 4.0
MOST_BYTES = 3_000_000

_RUNS = 2 if QUICK else 10
_STEPS = 500 if QUICK else 100_000


def run() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        paths = [Path(scratch, f"run-{number}") for number in range(_RUNS)]
        for path in paths:
            make_finished_run(path, _STEPS)
        page = html_page(collect(paths), "benchmark")
        print(f"{len(page) / 1e6:.2f} MB")
        report_count("bytes beyond 3 MB", max(len(page) - MOST_BYTES, 0), 0)
        ours, bare = medians(
            {
                "ours": lambda: seconds(lambda: html_page(collect(paths), "benchmark")),
                "rows": lambda: seconds(lambda: _read(paths)),
            },
            1,
            warm_up=False,
        ).values()
    report(f"report, {_RUNS} runs", ours, bare, "reading the rows", at_most=LIMIT)


def _read(paths: list[Path]) -> None:
    for path in paths:
        columns: dict[str, array[float]] = {}
        with (path / "metrics.jsonl").open("rb") as file:
            for line in file:
                for name, value in orjson.loads(line).items():
                    columns.setdefault(name, array("d")).append(value)
