"""The shape of the source: short files, one class a name, imports that point down, honest tests."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from repository import ROOT

PACKAGES = ("lmm_tui", "engine", "metrics", "data")
LONGEST, MEDIAN = 400, 140
LAYERED = ("", ".cli", ".engine", ".metrics", ".data")
"""Packages of lmm_tui whose parts must be in layers."""

PRIVATE_ALLOWED: dict[str, tuple[str, ...]] = {
    # Textual has no public way to ask what is painted, nor which toasts are shown.
    "tests/support/looking.py": ("_compositor", "_notifications"),
    # What the event loop and the screen have left to do is public in neither.
    "tests/support/idle_app.py": (
        "_wait_for_screen",
        "_ready",
        "_screen_stack",
        "_batch_count",
        "_on_timer_update",
        "_layout_required",
        "_scroll_required",
        "_repaint_required",
        "_recompose_required",
        "_dirty_widgets",
        "_callbacks",
    ),
    "tests/support/late_threads.py": ("_WorkItem",),
    "tests/support/slow_steps.py": ("_step",),
    # What opens hundreds of apps keeps what their style sheets are parsed to.
    "tests/lmm_tui/conftest.py": ("_parse_rules",),
    # What is tested replaces these parts of Textual, or counts what it sends.
    "tests/lmm_tui/cli/test_hostile_strings.py": ("_notifications",),
    "tests/lmm_tui/cockpit/screens/test_dashboard.py": ("_display",),
    "tests/lmm_tui/textual_patches/test_partial_repaint.py": (
        "_compositor",
        "_dirty_regions",
        "_display",
    ),
    # lm-eval's interface to a model, and torch's only record of hooks.
    "tests/engine/evaluation/test_evaluate.py": ("_loglikelihood_tokens",),
    "tests/metrics/deep/test_deep.py": ("_forward_hooks",),
    "tests/metrics/test_probes.py": ("_forward_hooks", "_captured"),
    # Faults are injected into the file that is open, and lines in memory are counted.
    "tests/metrics/writers/test_line_file.py": ("_file", "_waiting"),
    "tests/engine/instrument/test_script_run.py": ("_requests",),
    "tests/engine/stages/test_stages.py": ("_order", "_train"),
    # The loop's one step, between what happens before and after it.
    "tests/engine/training/test_host_waits.py": ("_step",),
    "tests/engine/training/test_recorded_steps.py": ("_step",),
    # Whether an operation of torch changes what it is given.
    "tests/support/tape.py": ("_schema",),
    # Stages whose data are real and whose models have no numbers.
    "tests/support/fake_gpu.py": (
        "_batches",
        "_device",
        "_prompts_per_round",
        "_reference",
        "_round",
        "_setup_privateuseone_for_python_backend",
        "_settings",
        "_source",
        "_teacher",
        "_to_micro_batch",
        "_train",
    ),
}
"""By file, the private attributes of others that it may use; none is of a screen of ours."""


def source_files() -> list[Path]:
    """Each file once: lmm_tui/{engine,metrics,data} are links to the folders of the checkout."""
    found = {path.resolve() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    return sorted(path for path in found if path.name != "__init__.py")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_no_source_file_is_long_and_most_are_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in source_files()}
    long = {
        str(path.relative_to(ROOT)): count for path, count in lengths.items() if count > LONGEST
    }
    assert not long
    assert statistics.median(lengths.values()) <= MEDIAN


def test_no_class_name_is_used_twice() -> None:
    """Private ones, too; a message within its widget's class and a self-test's class may."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in source_files():
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_imports_point_down_and_in_no_circle() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contracts = linter["contracts"]
    layered = {place for it in contracts if it["type"] == "layers" for place in it["containers"]}
    assert layered >= {f"{linter['root_package']}{package}" for package in LAYERED}
    assert all(it["exhaustive"] for it in contracts if it["type"] == "layers")
    assert any(
        it["type"] == "acyclic_siblings" and "lmm_tui" in it["ancestors"] for it in contracts
    )
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def private_uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and source of each `x._name` whose `x` is neither self, cls, a module nor defined here.

    A class that a test file itself defines may be looked into, and so may a module.
    """
    own = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    } | {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                if isinstance(node, ast.Import) or is_module(prefix + alias.name):
                    modules.add(alias.asname or alias.name.partition(".")[0])
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not is_private(node.attr) or node.attr in own:
            continue
        root = node.value
        while isinstance(root, ast.Attribute):
            root = root.value
        direct = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
        if direct or (isinstance(root, ast.Name) and root.id in modules):
            continue
        yield node.lineno, ast.unparse(node)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def is_module(name: str) -> bool:
    """Whether a dotted name is a module, rather than something in one."""
    parent, _, last = name.rpartition(".")
    found = sys.modules.get(name)
    if found is not None:
        return isinstance(found, ModuleType)
    folder = ROOT.joinpath(*parent.split("."))
    return (folder / f"{last}.py").exists() or (folder / last / "__init__.py").exists()


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("app.screen._plot", ["app.screen._plot"]),
        ("screen._book.pages", ["screen._book"]),
        ("pilot.app.screen.query_one(Chart)._canvas", [".query_one(Chart)._canvas"]),
        ("self._run()", []),
        ("self.app._screens", ["self.app._screens"]),
        ("import textual._wait\ntextual._wait.LONG = 1", []),
        ("def f(self):\n    self._seen = 1\nterminal._seen", []),
        ("event.__class__", []),
    ],
)
def test_private_uses_are_found(code: str, found: list[str]) -> None:
    uses = [use for _, use in private_uses(ast.parse(code))]
    assert len(uses) == len(found)
    assert all(use.endswith(end) for use, end in zip(uses, found, strict=True))


def test_no_test_uses_private_attributes_of_what_it_tests() -> None:
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        allowed = PRIVATE_ALLOWED.get(name, ())
        for line, use in private_uses(tree_of(path)):
            if use.rpartition(".")[2] not in allowed:
                found.append(f"{name}:{line} {use}")
    assert found == []
