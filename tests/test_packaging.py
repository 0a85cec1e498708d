"""What is installed: the wheel holds every module and style sheet, the pins cover what we name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from repository import ROOT

FOLDERS = ("lmm_tui", "engine", "metrics", "data")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.slow
def test_the_wheel_holds_everything_that_runs(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for folder in FOLDERS:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "lmm_tui/errors.py", "README.md"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(tmp_path), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("lmm_tui-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        [entry_points] = [name for name in held if name.endswith("entry_points.txt")]
        assert "lmm-tui = lmm_tui.cli.main:main" in archive.read(entry_points).decode()
    package = source / "lmm_tui"
    wanted = {
        str((Path(folder) / name).relative_to(source))
        for folder, _, names in os.walk(package, followlinks=True)
        for name in names
        if Path(name).suffix in (".py", ".tcss", ".toml", ".typed")
    }
    assert {"lmm_tui/cockpit/cockpit.tcss", "lmm_tui/engine/config/recipes/tiny.toml"} <= wanted
    assert wanted <= held
    assert {Path(name).parts[0] for name in held if ".dist-info/" not in name} == {"lmm_tui"}


def test_pins_satisfy_every_requirement() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    requirements = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, requirements):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert requirement.specifier.contains(pins[name]), requirement
    assert pins["torch"] == "2.13.0"
    assert not any("+" in version for version in pins.values()), "a build of one platform only"


def test_the_lock_holds_the_versions_of_the_constraints_with_hashes() -> None:
    """All that `make setup` installs but torch, which is built for the machine."""
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.M))
    lock = (ROOT / "requirements.lock").read_text()
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.M))
    assert pinned.pop("torch") and "torch" not in locked
    assert locked == {name.lower(): version for name, version in pinned.items()}
    for entry in re.split(r"\n(?=\S)", lock.strip()):
        assert "--hash=sha256:" in entry, entry
    assert (ROOT / "build.lock").read_text().strip() in lock


def test_make_installs_nothing_without_a_hash_but_torch() -> None:
    installs = [line for line in (ROOT / "Makefile").read_text().splitlines() if "$(PIP) " in line]
    unhashed = [line.strip() for line in installs if "--require-hashes" not in line]
    assert unhashed == [
        "$(PIP) -c constraints.txt torch",
        "$(PIP) --no-deps --no-build-isolation -e .",
    ]
