"""The command after `pip install --no-deps`: one sentence, whatever is missing first."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from processes import PROGRAM
from scripts import environment


@pytest.mark.parametrize("args", [[], ["--help"], ["runs"], ["monitor", "mine"]])
def test_without_click_the_command_says_what_to_install(tmp_path: Path, args: list[str]) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError('gone', name='click')\n")
    env = environment()
    env["PYTHONPATH"] = f"{tmp_path}:{env['PYTHONPATH']}"
    done = subprocess.run(
        [*PROGRAM, *args], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "lmm-tui: click is not installed; `pip install 'lmm-tui'` adds it\n"
