"""Our preference and policy losses are trl's, in values and in gradients."""

import subprocess
import sys

import pytest
from repository import ROOT


@pytest.mark.slow
def test_losses_and_gradients_equal_trls() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "losses"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout, done.stdout
