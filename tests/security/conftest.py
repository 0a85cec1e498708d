"""A real run, a copy of it to set traps in, and a folder outside that must stay as it is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_runs import train
from strangers import SMALL, make_canary, state_of

from lmm_tui.engine.config.resolve import resolve


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with two checkpoints, and the caches of its text."""
    place = tmp_path_factory.mktemp("trained")
    cache = {"data.cache_dir": str(place / "cache"), "runs_dir": str(place), "name": "base"}
    train(resolve(assignments=SMALL | cache))
    return place / "base"


@pytest.fixture
def stranger(tmp_path: Path, trained: Path) -> Path:
    """The copy of a run, in `runs/` of the working directory."""
    return Path(shutil.copytree(trained, tmp_path / "runs" / "x"))


@pytest.fixture
def canary(tmp_path: Path, trained: Path) -> Iterator[Path]:
    """Files outside, which are compared afterwards."""
    folder = make_canary(tmp_path / "canary", trained)
    before = state_of(folder)
    yield folder
    assert state_of(folder) == before


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
