"""`lmm-tui health` says in its first line whether a run is healthy, for people and programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_runs import make_run

from lmm_tui.cli import main


def asked(capsys: pytest.CaptureFixture[str], folder: Path, *args: str) -> str:
    assert main.run(["health", "--runs-dir", str(folder), *args]) == 0
    return capsys.readouterr().out


def test_a_healthy_run_is_said_to_be_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path, rows=120)
    assert asked(capsys, tmp_path) == "healthy up to step 120\n"


def test_a_diverged_run_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, rows=60)
    with run.metrics.open("a") as file:
        file.write('{"step":61,"train/loss":"NaN","grad/\\u001b[2Jlayers.1":"Infinity"}\n')
    shown = asked(capsys, tmp_path)
    assert shown.startswith("error: train/loss is nan") and "try: roll back" in shown
    assert "\x1b" not in shown
    record = json.loads(asked(capsys, tmp_path, "--json"))
    assert record["open"] == ["non_finite"]
    assert record["alerts"][0]["values"]["train/loss"] == "NaN"


def test_loss_levels_bind_only_runs_from_fresh_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    low = '{"step":1,"train/loss":2.0}\n'
    for name, changes in (("fresh", {}), ("tuned", {"parent": "fresh"})):
        make_run(tmp_path, name, **changes).metrics.write_text(low)
    assert "first_loss_low" in asked(capsys, tmp_path, "fresh")
    assert asked(capsys, tmp_path, "tuned") == "healthy up to step 1\n"


def test_rules_come_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "runs", rows=10)
    rules = tmp_path / "health.toml"
    rules.write_text("[thresholds.high]\nmetric = 'train/loss'\nabove = 1\n")
    assert "high: loss is 6.93" in asked(capsys, tmp_path / "runs", "--rules", str(rules))
    rules.write_text("[rules.none]\n")
    assert main.run(["health", "--runs-dir", str(tmp_path / "runs"), "--rules", str(rules)]) == 2
    assert "rules.none" in capsys.readouterr().err
