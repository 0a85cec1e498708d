"""A run as one of Weights & Biases: configuration, curves over the step, samples as a table.

Where it goes is said as that program is told it: `wandb login`, WANDB_MODE, WANDB_PROJECT and so
on. Without an account here it writes offline, into the run directory; `wandb sync` uploads that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lmm_tui.engine.trackers.tracked_end import COLUMNS, TrackedEnd
from lmm_tui.metrics.writers.mirror import TrackedRun, Tracker

_STEP = "train/global_step"
"""The Trainer's name, over which its dashboards draw everything."""
_HOST = "api.wandb.ai"
_LOWEST, _HIGHEST = ("val/loss", "train/loss"), ("val/reward", "val/accuracy")


class WandbTracker(Tracker):
    """Steps may come late and more than once, which W&B's own step does not allow."""

    def start(self, run: TrackedRun, config: Mapping[str, Any]) -> None:
        import wandb

        self._directory = run.directory
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "lmm-tui"),
            name=run.name,
            group=run.group or None,
            job_type=run.stage,
            id=run.identity,
            resume="allow",
            dir=str(run.directory),
            config=dict(config),
            mode=None if _is_told() else "offline",
            # Memory and processor time are those of the process that trains.
            settings=wandb.Settings(silent=True, console="off", x_stats_pid=os.getppid()),
        )
        self._run.define_metric(_STEP, hidden=True)
        self._run.define_metric("*", step_metric=_STEP)
        for names, kind in ((_LOWEST, "min"), (_HIGHEST, "max")):
            for name in names:
                self._run.define_metric(name, step_metric=_STEP, summary=f"{kind},last")

    def row(self, step: int, time: float, values: Mapping[str, float], late: bool) -> None:
        self._run.log({**values, _STEP: step})

    def close(self) -> None:
        import wandb

        end = TrackedEnd.of(self._directory)
        if end.samples:
            self._run.log({"samples": wandb.Table([*COLUMNS], [list(row) for row in end.samples])})
        self._run.finish(exit_code=int(end.failed))


def _is_told() -> bool:
    """Whether somebody said where runs go, as `wandb login` does; else W&B would ask, in the
    terminal, or fail."""
    names = ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
    if any(os.environ.get(name) for name in names):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "")).hostname or _HOST
    given = os.environ.get("NETRC")
    places = [Path(given)] if given else [Path.home() / name for name in (".netrc", "_netrc")]
    for place in places:
        with suppress(OSError, NetrcParseError):
            if netrc(str(place)).authenticators(host):
                return True
    return False


if __name__ == "__main__":
    print(_STEP, *COLUMNS, *_LOWEST, *_HIGHEST)
    print("=== 自测通过 ===")
