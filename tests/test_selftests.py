"""Every module file runs alone, says what it found, and ends with the sign that all is well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from forked import Forked, server_with_tests
from repository import ROOT

PACKAGES = ("lmm_tui", "engine", "metrics", "data")
PASSED = "=== 自测通过 ==="
IMPORTED_ONCE = (
    "textual.app",
    "textual.widgets",
    "peft",
    "lightning.pytorch",
)
NAMED_BY_USERS = ("engine/evaluate.py",)
"""Its name is taken by a package that only lm-eval imports, and that runs in another process."""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONUTF8": "1"}


def module_files() -> list[str]:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in files if path.name != "__init__.py")


def last_line(output: str) -> str:
    return output.rstrip().rpartition("\n")[2]


@pytest.mark.slow
def test_every_module_file_passes_its_self_test() -> None:
    files = module_files()
    program = [ROOT / "tests/support/run_alone.py", *files]
    forked = Forked(program, ROOT, ENVIRONMENT, IMPORTED_ONCE, server=server_with_tests())
    output, errors = forked.communicate(None)
    reports = [json.loads(line) for line in output.splitlines()]
    assert [report["file"] for report in reports] == files, errors
    for report in sorted(reports, key=lambda report: -report["seconds"])[:5]:
        print(f"{report['seconds']:6.2f} s  {report['file']}")
    failed = [
        f"{report['file']} (exit {report['code']}):\n{report['output'][-2000:]}"
        for report in reports
        if report["code"] != 0 or last_line(report["output"]) != PASSED
    ]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize(
    "file",
    [
        "lmm_tui/errors.py",
        "metrics/names.py",
        "engine/config/run_config.py",
        "lmm_tui/cli/commands/runs.py",
    ],
)
def test_a_few_of_them_in_a_process_of_their_own(file: str) -> None:
    done = subprocess.run(
        [sys.executable, file],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, last_line(done.stdout)) == (0, PASSED), done.stderr


def test_no_module_file_hides_another_module() -> None:
    """Its folder is first on sys.path when it runs alone; the imports of others must survive."""
    installed = metadata.packages_distributions()
    for file in module_files():
        name = Path(file).stem
        assert name not in sys.stdlib_module_names, file
        if "/" in file and file not in NAMED_BY_USERS:
            assert name not in installed, file
