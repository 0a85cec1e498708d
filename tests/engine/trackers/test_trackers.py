"""Each tracker with its real package, offline, read back by that package.

They are large and not among the requirements: where one isn't installed, LMM_TRACKERS may name a
folder with `pip install --target LMM_TRACKERS/NAME NAME`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_runs import MakeConfig, curve, lines, run

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.trackers.tracked_end import TrackedEnd

HERE = Path(__file__).parent


def place_of(package: str) -> str | None:
    """What to put into PYTHONPATH for it, or None where it isn't installed."""
    beside = Path(os.environ.get("LMM_TRACKERS", "/nowhere")) / package
    if beside.is_dir():
        return str(beside)
    return "" if importlib.util.find_spec(package) else None


def told(package: str, folder: Path) -> dict[str, Any]:
    """What `tracked_run.py` reads back: of the run `one`, trained and resumed."""
    place = place_of(package)
    if place is None:
        pytest.skip(f"{package} is not installed")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "MLFLOW"))}
    done = subprocess.run(
        [sys.executable, HERE / "tracked_run.py", package, folder],
        env=environment
        | {"HOME": str(folder), "TRACKIO_DIR": str(folder / "trackio"), "PYTHONPATH": place},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("package", ["wandb", "trackio", "mlflow"])
def test_a_run_is_there_as_users_of_the_tracker_expect(package: str, tmp_path: Path) -> None:
    found = told(package, tmp_path)
    run_dir = RunDir(tmp_path / "runs" / "one")
    assert not [event for event in lines(run_dir.events) if "tracker" in event["message"]]
    for name in ("train/loss", "val/loss", "train/lr"):
        ours = curve(run_dir, name)
        theirs = {int(step): value for step, value in found["curves"][name]}
        assert theirs.keys() == ours.keys()
        assert all(theirs[step] == pytest.approx(ours[step], rel=1e-6) for step in ours)
    assert found["runs"] == 1, "a resume is the same run"
    # MLflow's parameters stay those that the run began with.
    assert float(found["config"]["train.steps"]) == (6 if package == "mlflow" else 12)
    assert found["config"]["stage"] == "pretrain"
    assert "notify" not in json.dumps(found["config"])
    samples = TrackedEnd.of(run_dir.path).samples
    assert samples and [tuple(row) for row in found["samples"]] == samples
    assert found["failed"] is False


def test_a_tracker_that_is_not_there_is_refused_with_what_to_do(small: MakeConfig) -> None:
    assert run(small(log__trackers=["paper"])).error == (
        "log.trackers: there is no tracker 'paper'; choose from wandb, trackio, mlflow"
    )
    for package in ("wandb", "trackio", "mlflow"):
        if importlib.util.find_spec(package) is None:
            refused = run(small(log__trackers=[package], name=package)).error
            assert refused.endswith(f"its package; install it with `pip install {package}`")
