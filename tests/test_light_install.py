"""`lmm-tui-watch`: the light distribution watches, draws and exports, and names what it lacks."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Collection
from importlib import metadata
from pathlib import Path

import pytest
from made_runs import make_run
from packaging.requirements import Requirement
from repository import ROOT

from lmm_tui.metrics.writers.tensorboard_mirror import TensorBoardMirror

MOST_MB = 150
HEAVY = ("torch", "transformers", "lm_eval", "tensorboard", "matplotlib")


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with nothing but the light distribution and what it requires in it."""
    folder = tmp_path_factory.mktemp("light")
    environment = folder / "venv"
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*build, str(ROOT / "watch")], env=ours, check=True)
    install = [*pip, "--python", str(environment / "bin" / "python"), "install", "--no-deps"]
    [wheel] = folder.glob("*.whl")
    subprocess.run([*install, "--no-compile", str(wheel)], env=ours, check=True)
    packages = site_packages(environment)
    [own] = metadata.distributions(name="lmm-tui-watch", path=[str(packages)])
    for required in requirements(own).values():
        for top in {file.parts[0] for file in required.files or ()} - {".."}:
            (packages / top).symlink_to(Path(str(required.locate_file(top))))
    return environment


def site_packages(environment: Path) -> Path:
    return next((environment / "lib").glob("python3.*")) / "site-packages"


def requirements(
    distribution: metadata.Distribution, extras: Collection[str] = ("",)
) -> dict[str, metadata.Distribution]:
    """What pip would install with it, as it is installed here, each in a version that is allowed.

    Linked, not installed once more: to unpack and compile them takes pip fifteen seconds.
    """
    found: dict[str, metadata.Distribution] = {}
    for needed in map(Requirement, distribution.requires or ()):
        marker = needed.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            here = metadata.distribution(needed.name)
            assert here.version in needed.specifier, needed
            found |= {needed.name: here, **requirements(here, needed.extras or ("",))}
    return found


def call(light: Path, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {n: value for n, value in os.environ.items() if n != "PYTHONPATH"}
    return subprocess.run(
        [str(light / "bin" / "lmm-tui"), *args],
        cwd=folder,
        env=environment | {"LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )


def megabytes(folder: Path) -> float:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(file.stat().st_size for file in files) / 1e6


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_opens_a_run_and_a_tensorboard_log(light: Path, tmp_path: Path) -> None:
    packages = site_packages(light)
    own = {"pip", "setuptools", "pkg_resources", "_distutils_hack"}
    assert sum(megabytes(path) for path in packages.iterdir() if path.name not in own) < MOST_MB
    assert not [name for name in HEAVY if (packages / name).exists()]

    make_run(tmp_path / "runs", name="mine", rows=30)
    log = TensorBoardMirror(tmp_path / "log")
    for step in range(1, 31):
        log.write(step, 1e9 + step, {"train/loss": 3 - step / 20})
    log.close()
    for source in ("mine", "log"):
        drawn = call(light, tmp_path, "plot", source, "--text")
        assert (drawn.returncode, drawn.stderr) == (0, "")
        assert "loss" in drawn.stdout
        assert call(light, tmp_path, "export", source, "--to", "csv", "-o", f"{source}.csv")
        assert len((tmp_path / f"{source}.csv").read_text().splitlines()) == 31
    screen = call(light, tmp_path, "plot", "mine", "--screen", "screen.svg")
    assert screen.returncode == 0, screen.stderr
    assert "mine" in (tmp_path / "screen.svg").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["train"], "torch is not installed; `pip install 'lmm-tui'` adds it"),
        (["launch", "--yes"], "torch is not installed; `pip install 'lmm-tui'` adds it"),
        (
            ["plot", "mine", "-o", "page.png"],
            "matplotlib is not installed; `pip install 'lmm-tui-watch[png]'` adds it",
        ),
    ],
)
def test_what_it_lacks_is_named(light: Path, tmp_path: Path, args: list[str], wanted: str) -> None:
    make_run(tmp_path / "runs", name="mine", rows=30)
    done = call(light, tmp_path, *args)
    assert (done.returncode, done.stderr) == (2, f"lmm-tui: {wanted}\n")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["mine"]


def test_both_distributions_hold_the_same_code() -> None:
    whole, light = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text("utf-8"))
        for folder in ("", "watch")
    )
    assert (
        light["tool"]["setuptools"]["package-data"] == whole["tool"]["setuptools"]["package-data"]
    )
    assert light["tool"]["setuptools"]["dynamic"] == whole["tool"]["setuptools"]["dynamic"]
    assert light["project"]["scripts"] == whole["project"]["scripts"]
    extras = light["project"]["optional-dependencies"].values()
    asked = {*light["project"]["dependencies"], *(name for extra in extras for name in extra)}
    assert asked <= set(whole["project"]["dependencies"])
    assert (ROOT / "watch" / "lmm_tui").resolve() == ROOT / "lmm_tui"
