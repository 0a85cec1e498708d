"""A plain installation adds one name: scripts keep their own `data`, `engine`, `metrics`, `utils`.

Half of all training repositories call their folders so, many without `__init__.py`, where any
installed package of that name would win.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from repository import ROOT

CHECKOUT = ("lmm_tui", "engine", "metrics", "data", "pyproject.toml", "README.md")

MODULES = {"data": "rows", "engine": "step", "metrics": "bleu", "model": "forward"}
"""A function in each of the script's own modules; `utils.py` has `seed`."""

LAYOUTS = {
    "files": "{name}.py",
    "folders": "{name}/own.py",
    "packages": "{name}/__init__.py",
}
"""Where the function of a module is; a folder without `__init__.py` is a namespace package."""

WATCHED = """
tracker = TrainingTracker(log_dir="logs", tensorboard=False)
with lmm_run("runs/mine", total_steps=2) as run:
    for step in (1, 2):
        run.log(step=step, loss=float(rows() / step))
        tracker.update_loss(float(rows()))
        tracker.log()
tracker.close()
"""

PROBED = """
import torch
from lmm_tui import ModelProbe

probe = ModelProbe()
logits, ids = torch.zeros(1, 4, 8), torch.zeros(1, 4, dtype=torch.long)  # ln 8 is 2.08
print(round(probe.compute_output_distribution(logits, ids)["entropy"], 2))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plain, not editable, installation of the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    source.mkdir()
    for name in CHECKOUT:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    command = [*pip, "--no-compile", "--target", str(folder / "site"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def run(folder: Path, script: str, *paths: Path) -> list[str]:
    """What `script` prints, with `paths` in place of all that is installed.

    `-S` leaves site-packages out, and with it the editable installation of the tests.
    """
    (folder / "train.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-S", "train.py"],
        cwd=folder,
        env={"PYTHONPATH": ":".join(map(str, paths)), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def requirements() -> list[Path]:
    """The folders that hold the packages lmm-tui needs."""
    specs = [find_spec(name) for name in ("numpy", "torch", "psutil")]
    return sorted({Path(spec.origin).parents[1] for spec in specs if spec and spec.origin})


def make_own(folder: Path, layout: str) -> str:
    """Modules of a script's own; the lines that import and call them."""
    imports, calls = ["from utils import seed"], ["seed()"]
    (folder / "utils.py").write_text("def seed():\n    return 7\n")
    for number, (name, function) in enumerate(MODULES.items(), start=1):
        file = folder / LAYOUTS[layout].format(name=name)
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"def {function}():\n    return {number}\n")
        module = f"{name}.own" if layout == "folders" else name
        imports.append(f"from {module} import {function}")
        calls.append(f"{function}()")
    return "\n".join([*imports, f"print({', '.join(calls)})"])


def test_one_name_is_installed(site: Path) -> None:
    assert {path.name for path in site.glob("*.py")} == set()
    assert {path.parent.name for path in site.glob("*/__init__.py")} == {"lmm_tui"}
    assert {path.name.partition("-")[0] for path in site.iterdir()} == {"lmm_tui", "bin"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_script_keeps_its_own_modules(layout: str, site: Path, tmp_path: Path) -> None:
    own = make_own(tmp_path, layout)
    values = ["7", "1", "2", "3", "4"]
    assert run(tmp_path, own) == values
    assert run(tmp_path, own, site, *requirements()) == values


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("own_first", [True, False], ids=["own first", "lmm_tui first"])
def test_a_script_uses_the_instrument_beside_its_own_modules(
    layout: str, own_first: bool, site: Path, tmp_path: Path
) -> None:
    own = make_own(tmp_path, layout)
    theirs = "import lmm_tui\nfrom lmm_tui import TrainingTracker, lmm_run"
    imports = [own, theirs] if own_first else [theirs, own]
    # Torch takes seconds to import, and whether it is loaded does not depend on the layout.
    probed = PROBED if own_first and layout == "folders" else ""
    place = "print(lmm_tui.__file__)"
    printed = run(tmp_path, "\n".join([*imports, WATCHED, probed, place]), site, *requirements())
    assert printed[:5] == ["7", "1", "2", "3", "4"]
    assert printed[5:-1] == (["2.08"] if probed else [])
    assert Path(printed[-1]).is_relative_to(site)
    for file in ("runs/mine/metrics.jsonl", "logs/metrics.jsonl"):
        assert len((tmp_path / file).read_text().splitlines()) == 2


def test_the_import_loads_neither_numpy_nor_torch(site: Path, tmp_path: Path) -> None:
    script = "import sys, lmm_tui\nprint(*{'numpy', 'torch', 'textual'} & set(sys.modules))"
    assert run(tmp_path, script, site, *requirements()) == []
