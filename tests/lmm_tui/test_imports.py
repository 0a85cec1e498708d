"""What is imported when: help is instant, and nothing that only looks at runs waits for torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import make_run

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "matplotlib.pyplot", "tensorboard", "lm_eval")
SLOW = ("pydantic", "textual", "plotext", "matplotlib", "numpy", "tokenizers")

TORCH_FREE_ENGINE = (
    "alert_notice",
    "config",
    "control",
    "events",
    "health_watch",
    "host",
    "instrument",
    "rundir",
    "script_commands",
    "shape",
)
TORCH_NEEDED_METRICS = (
    "activations",
    "attention",
    "calibration",
    "deep",
    "grads",
    "layers",
    "probes",
    "updates",
)
"""What sits on the training side; all else of metrics is the reading side."""


def modules(package: str) -> list[str]:
    """All modules of a package, dotted."""
    paths = (ROOT / package).rglob("*.py")
    found = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return sorted(name.removesuffix(".__init__") for name in found)


READING_PATH = [
    *(f"engine.{name}" for name in TORCH_FREE_ENGINE),
    *(
        name
        for name in modules("metrics")
        if name.removeprefix("metrics.") not in TORCH_NEEDED_METRICS
    ),
    *modules("data"),
    *modules("lmm_tui"),
]


def loaded(program: str, folder: Path, *wanted: str) -> set[str]:
    """Which of `wanted` are in sys.modules after `program` ran in a fresh interpreter."""
    code = (
        f"{program}\nimport json, sys\n"
        f"print(json.dumps([n for n in {wanted!r} if n in sys.modules]), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def command(*args: str) -> str:
    return f"from lmm_tui.cli import run; assert run({list(args)!r}) == 0"


def test_help_imports_next_to_nothing(tmp_path: Path) -> None:
    assert not loaded(command("--help"), tmp_path, *HEAVY, *SLOW, "rich")


def test_the_reading_path_is_free_of_torch(tmp_path: Path) -> None:
    program = "\n".join(f"import {name}" for name in READING_PATH)
    assert not loaded(program, tmp_path, *HEAVY)


@pytest.mark.parametrize("module", ["lmm_tui.session", "lmm_tui.launcher"])
def test_a_monitor_starts_without_the_configuration_tree(module: str, tmp_path: Path) -> None:
    assert not loaded(f"import {module}", tmp_path, *HEAVY, "pydantic", "engine.config")


@pytest.mark.parametrize(
    ("args", "unwanted"),
    [
        (["runs"], SLOW),
        (["status"], SLOW),
        (["status", "--json"], SLOW),
        (["plot", "--text"], ("pydantic", "textual", "matplotlib", "tokenizers")),
        (["plot", "--output", "page.png"], ("pydantic", "textual", "plotext", "tokenizers")),
        (["eval", "--write-tasks", "made"], ("textual", "pydantic", "matplotlib")),
        (["train", "--print-config"], ("textual", "plotext", "matplotlib", "numpy", "tokenizers")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_commands_import_only_what_they_need(
    args: list[str], unwanted: tuple[str, ...], tmp_path: Path
) -> None:
    make_run(tmp_path / "runs", rows=20)
    assert not loaded(command(*args), tmp_path, *HEAVY, *unwanted)
