"""The screens by their names in the key table; each is imported when it is first opened.

A new screen is a row in `[go]` of `cockpit.key_table`, a class over `BaseScreen` and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmm_tui.cockpit.screens.base_screen import BaseScreen
    from lmm_tui.engine.run.reader import Reader

_OF_A_RUN = {
    "checkpoints": "CheckpointsScreen",
    "log": "LogScreen",
    "samples": "SamplesScreen",
    "chat": "ChatScreen",
    "tokens": "TokensScreen",
    "data": "DataScreen",
    "evaluate": "EvaluateScreen",
    "ranks": "RanksScreen",
}
"""Classes of the screens that are made from nothing but the open run, in `<name>_screen`."""

OF_A_RUN = frozenset(_OF_A_RUN)
"""Screens that need an open run."""

GO_WITH_THE_RUN = OF_A_RUN | {"system"}
"""Screens that are made again when another run is opened."""


@dataclass(frozen=True)
class ScreenContext:
    """What screens are made from."""

    runs_dir: Path
    session: Reader | None
    shown_run: Callable[[], Path | None]
    """Returns the run that is open at the time of the call."""


def make(name: str, context: ScreenContext) -> BaseScreen:
    """The screen called `name`; those `OF_A_RUN` need a session."""
    return _MAKERS[name](context)


def _runs(context: ScreenContext) -> BaseScreen:
    from lmm_tui.cockpit.screens.runs_screen import RunsScreen

    return RunsScreen(context.runs_dir, context.shown_run)


def _system(context: ScreenContext) -> BaseScreen:
    from lmm_tui.cockpit.screens.system_screen import SystemScreen

    return SystemScreen(context.runs_dir, context.session)


def _of_a_run(name: str, context: ScreenContext) -> BaseScreen:
    assert context.session is not None
    module = import_module(f"lmm_tui.cockpit.screens.{name}_screen")
    made: BaseScreen = getattr(module, _OF_A_RUN[name])(context.session.run_dir)
    return made


_MAKERS: dict[str, Callable[[ScreenContext], BaseScreen]] = {
    "runs": _runs,
    "system": _system,
    **{name: partial(_of_a_run, name) for name in _OF_A_RUN},
}

REGISTERED = frozenset(_MAKERS)

if __name__ == "__main__":
    print(sorted(REGISTERED))
    print("=== 自测通过 ===")
