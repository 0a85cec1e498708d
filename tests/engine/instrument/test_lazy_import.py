"""`lmm_run` and the callbacks are imported from the package, by both of its names, when used."""

from __future__ import annotations

import subprocess
import sys

import pytest
from repository import ROOT


def run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_package_imports_nothing_before_a_function_is_used() -> None:
    run(
        "import sys, lmm_tui.engine.instrument as package\n"
        "heavy = {'numpy', 'psutil', 'torch', 'lmm_tui.engine.instrument.script_run'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "functions = [getattr(package, name) for name in package.__all__]\n"
        "assert all(map(callable, functions)) and len(functions) == 3\n"
        "assert not {'torch', 'transformers', 'lightning'} & set(sys.modules)\n"
    )


@pytest.mark.parametrize("package", ["lmm_tui.engine.instrument", "engine.instrument"])
def test_lmm_run_is_one_function_by_every_name(package: str) -> None:
    run(
        f"from {package} import lmm_callback, lmm_lightning, lmm_run\n"
        f"from {package}.script_run import ScriptRun\n"
        "import lmm_tui\n"
        "from lmm_tui.engine.instrument import script_run\n"
        "assert lmm_run is lmm_tui.lmm_run is script_run.lmm_run\n"
        "assert lmm_callback is lmm_tui.lmm_callback and lmm_lightning is lmm_tui.lmm_lightning\n"
        "assert ScriptRun is script_run.ScriptRun\n"
    )


def test_an_unknown_name_is_an_import_error() -> None:
    run(
        "try:\n"
        "    from lmm_tui.engine.instrument import lmm_walk\n"
        "except ImportError as error:\n"
        "    assert 'lmm_walk' in str(error)\n"
        "else:\n"
        "    raise AssertionError\n"
    )
