"""A queue and a trial are killed in the middle: the next queue takes both over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import until
from small_runs import SMALLEST, lines

from lmm_tui.child_process import child_environment
from lmm_tui.engine.run.find_run import list_runs
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.sweeps.results import sweep_record
from lmm_tui.sweeps.sweep_plan import SweepFolder

PROGRAM = [sys.executable, "-c", "from lmm_tui.cli.main import main; main()"]
STUCK = """
import time
from lmm_tui.cli.main import main
from lmm_tui.sweeps.sweep_queue import SweepQueue
end = SweepQueue._end
def stuck(self, live, outcome):
    if live.trial.run == "night-001":
        time.sleep(600)
    end(self, live, outcome)
SweepQueue._end = stuck
main()
"""
"""A queue that never gets over its second trial, however fast the machine is."""


@pytest.mark.slow
def test_no_trial_is_lost_or_trained_twice_after_kill_9(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    runs = tmp_path / "runs"
    settings = {**SMALLEST, "log.val_every": 2, "log.checkpoint_every": 2, "log.sample_every": 0}
    settings |= {"log.tensorboard": "false", "log.probe_every": 0}
    words = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    words += ["--steps", "4", "--set", "optim.lr=1e-3,3e-3", "--name", "night"]
    program = {"cwd": tmp_path, "env": child_environment(), "stdout": subprocess.DEVNULL}
    queue = subprocess.Popen(
        [sys.executable, "-c", STUCK, "sweep", *words, "--runs-dir", str(runs)], **program
    )
    until((runs / "night-001" / "run.json").exists)
    queue.kill()
    assert queue.wait() == -9
    killed = RunDir(runs / "night-001").read_info().pid
    os.kill(killed, signal.SIGKILL)
    worker = [*PROGRAM, "worker", "night", "--runs-dir", str(runs)]
    assert subprocess.run(worker, timeout=120, check=False, **program).returncode == 0
    record = sweep_record(SweepFolder(runs, "night"))
    assert [trial["state"] for trial in record["trials"]] == ["complete", "complete"]
    assert sorted(trial["point"]["optim.lr"] for trial in record["trials"]) == [1e-3, 3e-3]
    found = list_runs(runs)
    assert {run.name for run in found} == {"night-000", "night-001"}
    for run in found:
        steps = [row["step"] for row in lines(run.metrics)]
        assert steps == sorted(steps) and {*steps} == {1, 2, 3, 4}
        assert [event["kind"] for event in lines(run.events)].count("start") == 1
        assert run.read_info().group == "night"
    assert RunDir(runs / "night-001").read_info().pid != killed
    best = min(record["trials"], key=lambda trial: trial["value"])
    assert record["best"] == best["run"]
