"""The benchmark runner lists every claim of the project and says when a limit is missed."""

from __future__ import annotations

import subprocess
import sys

from repository import ROOT


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_every_case_is_listed_with_its_title() -> None:
    listed = run("from benchmarks.__main__ import main; raise SystemExit(main([]))")
    cases = {line.split()[0] for line in listed.stdout.splitlines()[:-2]}
    assert listed.returncode == 0
    assert cases >= {"startup", "ui_tax", "redraw", "open_run", "observe", "train_step"}


def test_an_unknown_case_is_refused() -> None:
    refused = run("from benchmarks.__main__ import main; raise SystemExit(main(['nope']))")
    assert refused.returncode == 2 and "nope" in refused.stderr


def test_a_missed_limit_is_an_exit_code() -> None:
    case = "import benchmarks.redraw as c; c.run = lambda: print('limit 1 measured {} {}');"
    runner = "from benchmarks.__main__ import main; raise SystemExit(main(['redraw']))"
    assert run(case.format(2, "FAIL") + runner).returncode == 1
    assert run(case.format(1, "PASS") + runner).returncode == 0
