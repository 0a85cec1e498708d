"""A run as one of trackio, Hugging Face's local tracker: configuration, curves, samples as a table.

The project is TRACKIO_PROJECT, by default `lmm-tui`; TRACKIO_DIR and TRACKIO_SPACE_ID say where it
is kept. `trackio show` draws it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

from lmm_tui.engine.trackers.tracked_end import COLUMNS, TrackedEnd
from lmm_tui.metrics.writers.mirror import TrackedRun, Tracker

_LOSS = ("persist", "dropped", "degraded")


class TrackioTracker(Tracker):
    def start(self, run: TrackedRun, config: Mapping[str, Any]) -> None:
        import trackio

        self._directory = run.directory
        self._lost: list[str] = []
        warnings.showwarning = self._hear
        self._run: Any = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", "lmm-tui"),
            name=run.name,
            group=run.group or None,
            space_id=os.environ.get("TRACKIO_SPACE_ID"),
            config=dict(config),
            resume="allow",
            embed=False,
        )

    def row(self, step: int, time: float, values: Mapping[str, float], late: bool) -> None:
        self._run.log(dict(values), step=step)
        self._refuse_loss()

    def close(self) -> None:
        import pandas
        import trackio

        end = TrackedEnd.of(self._directory)
        if end.samples:
            table = trackio.Table(dataframe=pandas.DataFrame(end.samples, columns=[*COLUMNS]))
            self._run.log({"samples": table}, step=end.samples[-1][0])
        self._run.finish()
        self._refuse_loss()

    def _hear(self, message: Warning | str, *_: Any, **__: Any) -> None:
        """It raises nothing where its files cannot be written, but warns."""
        text = str(message)
        if "trackio" in text and any(sign in text for sign in _LOSS):
            self._lost.append(text)

    def _refuse_loss(self) -> None:
        if self._lost:
            raise RuntimeError(self._lost[0])


if __name__ == "__main__":
    print(*COLUMNS)
    print("=== 自测通过 ===")
