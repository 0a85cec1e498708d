"""Run directories as a stranger may hand them on: links that lead out, bombs, and odd content."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_runs import SMALLEST

SPARSE = 50 << 30
NESTED = "[" * 100_000

FILES = (
    "run.json",
    "status.json",
    "config.toml",
    "metrics.jsonl",
    "events.jsonl",
    "samples.jsonl",
    "output.log",
    "run.lock",
    "note.txt",
    "tags.txt",
    "architecture.json",
    "reference.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)
FOLDERS = ("checkpoints", "tensorboard", "evals", "spikes", "plots")

SMALL = {
    "device": "cpu",
    **SMALLEST,
    "train.steps": 10,
    "train.batch_size": 2,
    "log.every": 1,
    "log.val_every": 0,
    "log.probe_every": 0,
    "log.sample_every": 2,
    "log.sample_tokens": 2,
    "log.checkpoint_every": 5,
    "log.keep": 2,
}
SETTINGS = [f"--set={key}={value}" for key, value in SMALL.items()]
"""The smallest run, as flags: a second of training."""

Trap = Callable[[Path, Path], None]
"""Called with the directory of a run, and a folder outside that must stay as it is."""


def make_canary(folder: Path, run: Path) -> Path:
    """What somebody holds dear: files, and folders with the names of ours."""
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text(f"precious {name}\n")
    for name in FOLDERS:
        if (run / name).is_dir():
            shutil.copytree(run / name, folder / name)
        else:
            (folder / name).mkdir()
            (folder / name / "step-000000001").mkdir()
            (folder / name / "step-1.json").write_text("precious\n")
    return folder


def state_of(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Content, size and mode of all that is below a folder."""
    return {
        str(path.relative_to(folder)): (
            path.read_bytes() if path.is_file() else b"",
            path.lstat().st_mode,
            path.lstat().st_mtime_ns if path.is_file() else 0,
        )
        for path in sorted(folder.rglob("*"))
    }


def linked(name: str) -> Trap:
    return _instead(name, lambda path, canary: path.symlink_to(canary / name))


def linked_to(name: str, target: str) -> Trap:
    return _instead(name, lambda path, _: path.symlink_to(target))


def hard_linked(name: str) -> Trap:
    return _instead(name, lambda path, canary: path.hardlink_to(canary / name))


def piped(name: str) -> Trap:
    return _instead(name, lambda path, _: os.mkfifo(path))


def sparse(name: str) -> Trap:
    return _instead(name, lambda path, _: _make_sparse(path))


def holding(name: str, text: str) -> Trap:
    return _instead(name, lambda path, _: path.write_text(text))


def changed(name: str, **values: Any) -> Trap:
    """A JSON file with other values."""

    def set_trap(run: Path, canary: Path) -> None:
        content = json.loads((run / name).read_text())
        (run / name).write_text(json.dumps(content | values))

    return set_trap


def many_names(run: Path, canary: Path) -> None:
    """400,000 metrics, each in one row."""
    with (run / "metrics.jsonl").open("w") as file:
        for at in range(400_000):
            file.write(f'{{"step":{at},"n{at}":1}}\n')


def _instead(name: str, make: Callable[[Path, Path], object]) -> Trap:
    def set_trap(run: Path, canary: Path) -> None:
        path = run / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        make(path, canary)

    return set_trap


def _make_sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(SPARSE)


if __name__ == "__main__":
    print(len(FILES), len(FOLDERS))
