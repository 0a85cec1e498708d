"""A child imports nothing from the working directory and gets no secrets that it does not need."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Collection
from pathlib import Path

import pytest

from lmm_tui.child_process import (
    ALL_SECRETS,
    HUB_SECRETS,
    child_environment,
    start_confined,
    start_python,
)

SECRETS = {
    "HF_TOKEN": "hf_x",
    "WANDB_API_KEY": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_ACCESS_KEY_ID": "x",
    "MY_PASSWORD": "x",
    "database_url": "postgres://me:word@host/x",
}
HARMLESS = {
    "TOKENIZERS_PARALLELISM": "false",
    "SSH_AUTH_SOCK": "/run/agent",
    "KEYBOARD": "us",
    "CUDA_VISIBLE_DEVICES": "0",
    "https_proxy": "http://me:word@proxy:3128",
}


@pytest.mark.parametrize(
    ("allowed", "kept"),
    [((), set()), (HUB_SECRETS, {"HF_TOKEN"}), (ALL_SECRETS, set(SECRETS))],
    ids=["none", "hub", "all"],
)
def test_secrets_are_kept_from_a_child_that_does_not_need_them(
    monkeypatch: pytest.MonkeyPatch, allowed: Collection[str] | None, kept: set[str]
) -> None:
    for name, value in (SECRETS | HARMLESS).items():
        monkeypatch.setenv(name, value)
    found = child_environment(allowed)
    assert found.keys() & SECRETS.keys() == kept
    assert HARMLESS.items() <= found.items()


def test_a_child_imports_nothing_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "psutil.py").write_text("raise SystemExit('imported from the working directory')")
    (tmp_path / "lib").mkdir()
    monkeypatch.chdir(tmp_path)
    places = ("", ".", str(tmp_path), "lib", str(tmp_path / "lib"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    program = "import json, sys, psutil, lmm_tui; print(json.dumps(sys.path))"
    with start_python(["-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        path = json.loads(child.stdout.read())
    assert child.returncode == 0
    assert str(tmp_path / "lib") in path
    assert not {"", ".", "lib", str(tmp_path)} & set(path)


def test_what_came_from_a_stranger_gets_a_few_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (SECRETS | HARMLESS).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TZ", "UTC")
    program = "import json, os, lmm_tui; print(json.dumps(dict(os.environ)))"
    with start_confined(["-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        found = json.loads(child.stdout.read())
    assert found["TZ"] == "UTC" and found["PATH"] == os.environ["PATH"]
    assert not found.keys() & (SECRETS | HARMLESS).keys()
