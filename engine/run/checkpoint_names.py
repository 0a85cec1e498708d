"""Names of the checkpoint folders of a run: `step-000000500`."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from lmm_tui.guarded_files import list_folder

_CHECKPOINT = re.compile(r"step-(\d{9})")


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first; incomplete ones have another name."""
    found = list_folder(folder, folder.parent)
    names = (name for name, kind in found.items() if kind == stat.S_IFDIR)
    return sorted(folder / name for name in names if _CHECKPOINT.fullmatch(name))


def checkpoint_name(step: int) -> str:
    return f"step-{step:09d}"


def checkpoint_step(path: Path) -> int:
    """The step of a checkpoint that `list_checkpoints` found."""
    return int(path.name.removeprefix("step-"))


if __name__ == "__main__":
    print(checkpoint_name(500))
    assert checkpoint_step(Path(checkpoint_name(500))) == 500
    print("=== 自测通过 ===")
