"""What is imported when: help is instant, and nothing that only looks at runs waits for torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import make_run
from repository import ROOT

HEAVY = ("torch", "transformers", "matplotlib.pyplot", "tensorboard", "lm_eval")
SLOW = ("pydantic", "textual", "plotext", "matplotlib", "numpy", "tokenizers")

TORCH_FREE_ENGINE = ("config", "health", "instrument", "run", "training.run_host")
TORCH_NEEDED_METRICS = (
    *("deep", "layers", "probe_numbers", "probes"),
    *("step.grad_norms", "step.update_ratio"),
)
"""Of engine what is read without torch, of metrics what needs it: packages and modules."""


def modules(package: str) -> list[str]:
    """All modules of a folder of the checkout, by their installed names."""
    paths = (ROOT / package).rglob("*.py")
    found = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    names = (name.removesuffix(".__init__") for name in found)
    return sorted(name if package == "lmm_tui" else f"lmm_tui.{name}" for name in names)


def within(name: str, package: str, parts: tuple[str, ...]) -> bool:
    wanted = tuple(f"lmm_tui.{package}.{part}" for part in parts)
    return name in wanted or name.startswith(tuple(f"{part}." for part in wanted))


READING_PATH = [
    *(name for name in modules("engine") if within(name, "engine", TORCH_FREE_ENGINE)),
    *(name for name in modules("metrics") if not within(name, "metrics", TORCH_NEEDED_METRICS)),
    *modules("data"),
    *modules("lmm_tui"),
]


def loaded(program: str, folder: Path, *wanted: str) -> set[str]:
    """Which of `wanted` are in sys.modules after `program` ran in a fresh interpreter."""
    code = (
        f"{program}\nimport json, sys\n"
        f"with open('loaded.json', 'w') as file:\n"
        f"    json.dump([n for n in {wanted!r} if n in sys.modules], file)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads((folder / "loaded.json").read_text()))  # Threads may still speak.


def command(*args: str) -> str:
    return f"from lmm_tui.cli.main import run; assert run({list(args)!r}) == 0"


def test_help_imports_next_to_nothing(tmp_path: Path) -> None:
    assert not loaded(command("--help"), tmp_path, *HEAVY, *SLOW, "rich")


def test_the_reading_path_is_free_of_torch(tmp_path: Path) -> None:
    program = "\n".join(f"import {name}" for name in READING_PATH)
    assert not loaded(program, tmp_path, *HEAVY)


@pytest.mark.parametrize("module", ["lmm_tui.engine.run.reader", "lmm_tui.cli.launcher"])
def test_a_monitor_starts_without_the_configuration_tree(module: str, tmp_path: Path) -> None:
    assert not loaded(
        f"import {module}", tmp_path, *HEAVY, "pydantic", "lmm_tui.engine.config.run_config"
    )


FIRST_PAINT = """
import sys, threading
ends, run = threading.Event(), threading.Thread.run
def run_after_paint(thread):
    ends.wait()
    run(thread)
threading.Thread.run = run_after_paint
import lmm_tui.cli.main, lmm_tui.cli.launcher
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.engine.config.run_config import RunConfig
there = set()
app = CockpitApp(config=RunConfig.defaults(), start=print, on_painted=lambda: painted())
def painted():
    there.update(sys.modules)
    ends.set()
    app.exit()
app.run(headless=True, size=(120, 36))
assert there
for name in set(sys.modules) - there:
    del sys.modules[name]
"""
LATER = (
    *("click", "click.core", "tomllib", "numpy", "psutil"),
    "lmm_tui.cockpit.widgets.run_line",
    "lmm_tui.data.text.source",
    "lmm_tui.engine.config.recipe",
    "lmm_tui.engine.config.trust",
    "lmm_tui.engine.run.reader",
    "lmm_tui.metrics.health.verdict",
    "lmm_tui.planning.data_summary",
    "lmm_tui.planning.step_benchmark",
    "lmm_tui.runs.away_summary",
    "lmm_tui.runs.run_list",
    "lmm_tui.runs.status_text",
    "lmm_tui.sweeps.axes",
)
"""What the form says nothing of before it is asked."""


def test_the_form_is_painted_with_what_it_shows_and_no_more(tmp_path: Path) -> None:
    assert not loaded(FIRST_PAINT, tmp_path, *HEAVY, *LATER)


def test_the_list_of_runs_is_painted_without_what_draws_charts(tmp_path: Path) -> None:
    program = "import lmm_tui.cli.launcher, lmm_tui.cockpit.screens.runs_screen"
    assert not loaded(program, tmp_path, *HEAVY, "numpy", "psutil", "pydantic")


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
    # A run of an older version, without its verdict, is judged by its rows.
    verdict = {"level": "ok", "headline": "healthy", "step": None, "text": "healthy up to step 20"}
    make_run(tmp_path / "runs", rows=20, verdict=verdict)
    assert not loaded(command(*args), tmp_path, *HEAVY, *unwanted)
