"""What the cockpit keeps from one start to the next: the screen and the theme used last.

Nobody depends on it: a file that is missing, broken or cannot be written means the defaults.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from engine.rundir import replace_text
from lmm_tui.locations import config_file


@dataclass(frozen=True)
class Habits:
    """Names of a screen and of a theme; empty where none was chosen."""

    screen: str = ""
    theme: str = ""


NO_HABITS = Habits()


def load(path: Path | None = None) -> Habits:
    """What was kept in `path` (default: `state.json` among the settings)."""
    try:
        found = json.loads((path or config_file("state.json")).read_text(encoding="utf-8"))
        known = {item.name: found[item.name] for item in fields(Habits) if item.name in found}
    except (OSError, ValueError, TypeError):
        return NO_HABITS
    return Habits(**known) if all(isinstance(value, str) for value in known.values()) else NO_HABITS


def keep(habits: Habits, path: Path | None = None) -> None:
    """Keep `habits` for the next start."""
    path = path or config_file("state.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(asdict(habits), indent=1) + "\n")
    except OSError:
        pass  # A full or read-only home is no reason to complain at the end of a day.


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "new" / "state.json"
        keep(Habits("log", "lmm-light"), file)
        print(load(file))
        assert load(file) == Habits("log", "lmm-light")
        file.write_text("[broken")
        assert load(file) == NO_HABITS
    print("=== 自测通过 ===")
