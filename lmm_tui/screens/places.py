"""Which screen stands behind which name of the key table; each is imported when it is first opened.

A new screen is a row in `lmm_tui.keys.SCREENS`, a class over `PlaceScreen` and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmm_tui.screens.place import PlaceScreen
    from lmm_tui.session import RunSession

OF_A_RUN = frozenset({"checkpoints", "log", "samples", "chat", "tokens", "evaluate"})
"""Screens that cannot be without a run that is open."""

GO_WITH_THE_RUN = OF_A_RUN | {"system"}
"""Screens that are made anew when another run is opened."""


BEHIND = {"chat": "samples", "tokens": "samples"}
"""Screens without a number, and the one that each is reached from."""


@dataclass(frozen=True)
class Around:
    """What a screen may be made from."""

    runs_dir: Path
    session: RunSession | None
    shown_run: Callable[[], Path | None]
    """The run that is open by the time it is asked for."""


def make(name: str, around: Around) -> PlaceScreen:
    """The screen called `name`; those `OF_A_RUN` need a session."""
    return _MAKERS[name](around)


def _runs(around: Around) -> PlaceScreen:
    from lmm_tui.screens.runs import RunsScreen

    return RunsScreen(around.runs_dir, around.shown_run)


def _checkpoints(around: Around) -> PlaceScreen:
    from lmm_tui.screens.checkpoints import CheckpointsScreen

    assert around.session is not None
    return CheckpointsScreen(around.session.run_dir)


def _log(around: Around) -> PlaceScreen:
    from lmm_tui.screens.log import LogScreen

    assert around.session is not None
    return LogScreen(around.session.run_dir)


def _system(around: Around) -> PlaceScreen:
    from lmm_tui.screens.system import SystemScreen

    return SystemScreen(around.runs_dir, around.session.run_dir if around.session else None)


def _samples(around: Around) -> PlaceScreen:
    from lmm_tui.screens.samples import SamplesScreen

    assert around.session is not None
    return SamplesScreen(around.session.run_dir)


def _chat(around: Around) -> PlaceScreen:
    from lmm_tui.screens.chat import ChatScreen

    assert around.session is not None
    return ChatScreen(around.session.run_dir)


def _tokens(around: Around) -> PlaceScreen:
    from lmm_tui.screens.tokens import TokensScreen

    assert around.session is not None
    return TokensScreen(around.session.run_dir)


def _evaluate(around: Around) -> PlaceScreen:
    from lmm_tui.screens.evaluation import EvaluateScreen

    assert around.session is not None
    return EvaluateScreen(around.session.run_dir)


_MAKERS: dict[str, Callable[[Around], PlaceScreen]] = {
    "runs": _runs,
    "checkpoints": _checkpoints,
    "log": _log,
    "system": _system,
    "samples": _samples,
    "chat": _chat,
    "tokens": _tokens,
    "evaluate": _evaluate,
}

PLACES = frozenset(_MAKERS)

if __name__ == "__main__":
    from lmm_tui.keys import SCREENS

    print(sorted(PLACES))
    assert {name for _, name, _ in SCREENS} | BEHIND.keys() == PLACES | {"dashboard", "configure"}
    print("=== 自测通过 ===")
