"""The benchmark runner lists every claim of the project and says when a limit is missed."""

from __future__ import annotations

import os
import subprocess

import pytest
import torch
from forked import Forked
from repository import ROOT

from benchmarks import gpu

CASES = {
    "any_model",
    "bytes_per_second",
    "foreign",
    "gpu",
    "hostile",
    "key_latency",
    "losses",
    "observe",
    "open_run",
    "over_ssh",
    "ranks",
    "real_model",
    "redraw",
    "report",
    "runs",
    "rollout",
    "soak",
    "startup",
    "train_step",
    "ui_tax",
    "prepare",
    "useful_tokens",
}


def run(code: str) -> subprocess.CompletedProcess[str]:
    process = Forked(["-c", code], ROOT, os.environ)
    output, errors = process.communicate()
    return subprocess.CompletedProcess(code, process.wait(), output, errors)


def test_every_case_is_listed_with_its_title() -> None:
    listed = run("from benchmarks.__main__ import main; raise SystemExit(main([]))")
    cases = {line.split()[0] for line in listed.stdout.splitlines()[:-2]}
    assert listed.returncode == 0
    assert cases == CASES


def test_every_case_can_be_imported() -> None:
    """They are run by hand: a name that has moved must be noticed before."""
    imports = "\n".join(f"import benchmarks.{name}" for name in [*sorted(CASES), "bare_app"])
    done = run(imports)
    assert done.returncode == 0, done.stderr


def test_an_unknown_case_is_refused() -> None:
    refused = run("from benchmarks.__main__ import main; raise SystemExit(main(['nope']))")
    assert refused.returncode == 2 and "nope" in refused.stderr


def test_a_missed_limit_is_an_exit_code() -> None:
    report = "report('redraw', {}, 2.0, 'baseline', at_most=1.5)"
    case = (
        "from benchmarks.measure import report; import benchmarks.losses as case;"
        f"case.run = lambda: {report};"
    )
    runner = "from benchmarks.__main__ import main; raise SystemExit(main(['losses']))"
    missed, kept = run(case.format(4.0) + runner), run(case.format(2.0) + runner)
    assert missed.returncode == 1 and "ratio 2  limit <= 1.5  FAIL" in missed.stdout
    assert kept.returncode == 0 and "ratio 1  limit <= 1.5  PASS" in kept.stdout


def test_the_script_for_whoever_has_a_gpu_runs_in_miniature(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of it but the processes that it shares with train_step."""
    speeds = {"ours": 300.0, "trainer": 200.0}
    monkeypatch.setattr(gpu, "speeds_of", lambda case, folder: speeds)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.run()
    said = capsys.readouterr().out
    options = "optim.state_dtype = 8bit", "train.cuda_graphs: on, but a graph needs a CUDA GPU"
    for part in ("its figures mean nothing", *options, "ratio 1.5", "MFU", "estimated", "rollouts"):
        assert part in said
