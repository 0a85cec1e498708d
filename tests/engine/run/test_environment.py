"""What run.json says of where a run was started, without secrets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lmm_tui.engine.run import environment
from lmm_tui.engine.run.environment import command_line, git_state, masked, package_versions
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunInfo, write_record
from lmm_tui.runs.compared_settings import differing, told_settings
from lmm_tui.runs.status_text import git_text


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "a.py").write_text("x = 1\n")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_commit_branch_and_changes_are_gits(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD").strip()
    assert git_state(str(repository)) == {"commit": head, "branch": "main"}
    (repository / "a.py").write_text("x = 2\n")
    assert git_state(str(repository))["diff"] == git(repository, "diff", "HEAD")


def test_changes_are_bounded_at_a_line_and_what_is_left_out_said(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "DIFF_LIMIT", 500)
    (repository / "a.py").write_text("y = 1\n" * 400)
    state = git_state(str(repository))
    assert len(state["diff"]) <= 500 and state["diff"].endswith("+y = 1")
    assert state["diff_left_out"].endswith("characters")


def test_a_folder_without_git_has_none(tmp_path: Path) -> None:
    assert git_state(str(tmp_path)) == {}


def test_no_program_of_a_repository_is_run(repository: Path) -> None:
    trap = repository / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {repository}/ran\n")
    trap.chmod(0o755)
    for key in ("core.fsmonitor", "diff.external", "core.pager"):
        git(repository, "config", key, str(trap))
    (repository / "a.py").write_text("x = 3\n")
    assert "diff" in git_state(str(repository))
    assert not (repository / "ran").exists()


@pytest.mark.parametrize("secret", [
    "HF_TOKEN=hunter2abc", "api_key: 'hunter2abc'", '"password": "hunter2abc"',
    "https://me:hunter2abc@host/x", "hf_hunter2abc", "sk-hunter2abc9", "webhook=https://hunter2abc",
])  # fmt: skip
def test_secrets_are_masked(secret: str) -> None:
    assert "hunter2abc" not in masked(secret) and "***" in masked(secret)


@pytest.mark.parametrize("word", ["a", "token", "a.", "a://", "a b ", "token "])
def test_a_long_argument_is_read_once(word: str) -> None:
    """From each of its letters anew would take minutes."""
    assert masked(word * 200_000) == word * 200_000


def test_arguments_after_flags_of_secrets_are_masked() -> None:
    given = ["lmm-tui", "train", "--token", "hunter2", "--set", "health.webhook=https://x/hunter2"]
    assert command_line([*given, "--steps", "9"]) == [
        *("lmm-tui", "train", "--token", "***", "--set", "health.webhook=***", "--steps", "9")
    ]
    assert {"torch", "numpy", "tokenizers"} <= package_versions().keys()


def test_two_runs_show_where_they_were_started_differently(tmp_path: Path) -> None:
    runs = []
    for name, commit in (("one", "a" * 40), ("two", "b" * 40)):
        run = RunDir(tmp_path / name)
        run.path.mkdir()
        run.config.write_text("stage = 'sft'\n")
        info = RunInfo(
            name, "sft", 0.0, 0.0, "host", 1, 0.0, git={"commit": commit, "branch": "main"},
            versions={"torch": "2.13", "numpy": name},
        )  # fmt: skip
        write_record(run.info_file, info)
        runs.append(run)
    found = differing([told_settings(run) for run in runs])
    assert found == ["git.commit", "versions.numpy"]
    assert git_text(runs[0].read_info()) == "aaaaaaaaaaaa (main), no changes"
