"""The doctor finds what is wrong and says what to do, and never falls ill itself."""

from __future__ import annotations

import io
import sys
from importlib import metadata
from pathlib import Path

import pytest

from lmm_tui.cli import doctor_checks, main
from lmm_tui.cli.doctor_checks import CheckResult, examine, report
from lmm_tui.terminal import capabilities


def by_topic(findings: list[CheckResult]) -> dict[str, CheckResult]:
    return {finding.topic: finding for finding in findings}


def test_a_healthy_installation_has_no_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["doctor", "--runs-dir", str(tmp_path / "runs")]) == 0
    shown = capsys.readouterr().out
    for word in ("python", "torch", "cpu", "textual", "runs folder", "cache folder", "size"):
        assert word in shown
    assert not (tmp_path / "runs").exists()


def test_a_package_out_of_range_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    true_version = metadata.version
    monkeypatch.setattr(
        doctor_checks.metadata,
        "version",
        lambda name: {"plotext": "6.1"}.get(name) or true_version(name),
    )
    found = by_topic(list(doctor_checks._packages()))["plotext"]
    assert found.verdict == "problem"
    assert found.text == "6.1, needs <6,>=5.3"
    assert found.advice == "pip install 'plotext<6,>=5.3'"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    true_version = metadata.version

    def version(name: str) -> str:
        if name == "tokenizers":
            raise metadata.PackageNotFoundError
        return true_version(name)

    monkeypatch.setattr(doctor_checks.metadata, "version", version)
    assert by_topic(list(doctor_checks._packages()))["tokenizers"].text.startswith("missing")


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    [found] = doctor_checks._folder("runs folder", tmp_path / "file" / "runs", "give --runs-dir")
    assert (found.verdict, found.advice) == ("problem", "give --runs-dir")


def test_a_full_disk_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 10 * 2**20})()
    monkeypatch.setattr(doctor_checks.shutil, "disk_usage", lambda _: usage)
    [found] = doctor_checks._folder("runs folder", tmp_path, "give --runs-dir")
    assert found.verdict == "note" and "checkpoints need space" in found.advice


@pytest.mark.parametrize(
    ("encoding", "term", "verdict", "text"),
    [
        ("utf-8", "xterm", "ok", "UTF-8"),
        ("utf-8", "linux", "note", "no braille"),
        ("latin-1", "xterm", "problem", "no Chinese"),
    ],
)
def test_what_the_terminal_can_show(
    encoding: str, term: str, verdict: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    monkeypatch.setenv("TERM", term)
    found = by_topic(list(doctor_checks._terminal()))["encoding"]
    assert found.verdict == verdict and text in found.text


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"TERM": "xterm-256color"}, "256 colours"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "16 million colours"),
        ({"TERM": "xterm"}, "16 colours"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "no colours"),
        ({"TERM": "screen", "TMUX": "/tmp/x", "SSH_CONNECTION": "1"}, "in tmux over ssh"),
    ],
)
def test_terminal_colours_and_surroundings(
    environment: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COLORTERM", "NO_COLOR", "TMUX", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(capabilities, "can_host_app", lambda: True)
    assert words in by_topic(list(doctor_checks._terminal()))["terminal"].text


def test_a_terminal_too_small_for_the_cockpit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr(capabilities, "can_host_app", lambda: True)
    found = by_topic(list(doctor_checks._terminal()))["size"]
    assert found.verdict == "problem" and "60x15" in found.advice


def test_a_check_that_fails_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_checks, "_torch", lambda: 1 / 0)
    found = by_topic(examine(tmp_path))
    assert found["torch"] == CheckResult("torch", "problem", "ZeroDivisionError: division by zero")
    assert found["python"].verdict == "ok"


def test_the_report_keeps_to_its_columns() -> None:
    findings = [
        CheckResult("packages", "ok", ", ".join(["some-package 1.2.3"] * 20)),
        CheckResult("size", "problem", "40x10", "make it larger, or ask for a smaller one"),
    ]
    lines = report(findings, 40).splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert lines[0] == "ok  packages  some-package 1.2.3,"
    assert lines[-3:] == [
        "!!  size      40x10",
        "              → make it larger, or ask",
        "                for a smaller one",
    ]
