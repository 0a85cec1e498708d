"""Preferences kept between starts of the cockpit: screen, theme, pinned and hidden metrics.

A file that is missing, invalid or not writable is no error: the defaults apply.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lmm_tui.guarded_files import replace_text
from lmm_tui.user_folders import user_settings

if TYPE_CHECKING:
    from lmm_tui.cockpit.pinned_metrics import PinnedMetrics
    from lmm_tui.engine.run.reader import Reader
    from lmm_tui.runs.away_summary import LastSeen

_MOST_SEEN = 50


@dataclass(frozen=True)
class Preferences:
    """Names of a screen and a theme, empty for the default; metrics as in `PinnedMetrics`."""

    screen: str = ""
    theme: str = ""
    pinned: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    """Of the list of runs, empty for the default."""
    told: tuple[str, ...] = ()
    """Ids of moved keys that were told."""
    knows_old_keys: bool = False
    """Whether they come from a version with other keys."""
    seen: tuple[tuple[str, float, int], ...] = ()
    """Runs that were live when they were last on the screen: path, time and step."""

    @property
    def shelf(self) -> PinnedMetrics:
        from lmm_tui.cockpit.pinned_metrics import PinnedMetrics

        return PinnedMetrics(self.pinned, frozenset(self.hidden))

    def with_shelf(self, shelf: PinnedMetrics) -> Preferences:
        return replace(self, pinned=shelf.pinned, hidden=tuple(sorted(shelf.hidden)))

    def last_seen(self, run: Path) -> LastSeen | None:
        from lmm_tui.runs.away_summary import LastSeen

        for path, seen, step in self.seen:
            if path == str(run.resolve()):
                return LastSeen(seen, step)
        return None

    def with_sight_of(self, session: Reader | None) -> Preferences:
        """With how far a live run has come, for a summary when it is seen again."""
        if session is None or session.foreign:
            return self
        from lmm_tui.runs.away_summary import LastSeen

        view = session.view
        seen = LastSeen(time.time(), view.status.step) if view.active else None
        return self.with_seen(session.run_dir.path, seen)

    def with_seen(self, run: Path, seen: LastSeen | None) -> Preferences:
        """With when a run was seen, or without it: of the latest runs only."""
        path = str(run.resolve())
        others = tuple(one for one in self.seen if one[0] != path)
        new = ((path, seen.time, seen.step),) if seen is not None else ()
        return replace(self, seen=(*new, *others)[:_MOST_SEEN])


NO_PREFERENCES = Preferences()


def load(path: Path | None = None) -> Preferences:
    """The preferences in `path` (default: `state.json` in the settings)."""
    try:
        found = json.loads((path or user_settings() / "state.json").read_text(encoding="utf-8"))
        return Preferences(
            screen=_text(found.get("screen", "")),
            theme=_text(found.get("theme", "")),
            pinned=tuple(map(_text, found.get("pinned", ()))),
            hidden=tuple(map(_text, found.get("hidden", ()))),
            columns=tuple(map(_text, found.get("columns", ()))),
            told=tuple(map(_text, found.get("told", ()))),
            knows_old_keys=found.get("knows_old_keys", True) is True,
            seen=tuple(
                (_text(run), float(at), int(step)) for run, at, step in found.get("seen", ())
            ),
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return NO_PREFERENCES


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def keep(preferences: Preferences, path: Path | None = None) -> None:
    """Save preferences for the next start."""
    path = path or user_settings() / "state.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(asdict(preferences), indent=1) + "\n")
    except OSError:
        pass  # A full or read-only home directory must not turn an exit into an error.


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "new" / "state.json"
        keep(Preferences("log", "lmm-light"), file)
        print(file.read_text(), load(file))
    print("=== 自测通过 ===")
