"""The main curve of a run that is not open, or of one with its checkpoints marked.

A few runs are kept with what was read of them, so that going up and down a list is quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lmm_tui.charts.chart import Chart
from lmm_tui.charts.plot import Plot
from lmm_tui.charts.traces import Mark
from lmm_tui.engine.run.reader import Reader
from lmm_tui.errors import LmmError
from lmm_tui.metrics.series.series import SeriesStore

_READ_AT_ONCE_S = 0.03
_READ_ON_AFTER_S = 0.02
_MOST_KEPT = 8


class RunPreview(Chart):
    """Call `show` with the run, and `look` now and then while it grows."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__("", (), id=id)
        self._sessions: dict[Path, Reader] = {}
        self._path: Path | None = None

    def show(self, path: Path | None, plot: Plot, marks: Sequence[int] = ()) -> None:
        """Show the run at a path by a plot, with marks at these steps."""
        self.marks = tuple(Mark(step, False) for step in marks)
        if path != self._path or plot.title != self.title:
            self._path = path
            self.plot = plot
        self.look()

    def look(self) -> None:
        """Read on, and draw what is new."""
        session = self._session()
        if session is None:
            self.update_from(SeriesStore())
            return
        try:
            session.poll(_READ_AT_ONCE_S)
        except LmmError:
            return  # It was deleted: what was read of it stays.
        self.update_from(session.series)
        if session.loading:
            self.set_timer(_READ_ON_AFTER_S, self.look)

    def _session(self) -> Reader | None:
        path = self._path
        if path is None:
            return None
        if path not in self._sessions:
            try:
                self._sessions[path] = Reader(path)
            except LmmError:
                return None
            while len(self._sessions) > _MOST_KEPT:
                del self._sessions[next(iter(self._sessions))]
        return self._sessions[path]


if __name__ == "__main__":
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".log", buffering=1) as log:
        log.write("step: 1, loss: 2.5\nstep: 2, loss: 2.25\n")
        preview = RunPreview()
        preview._path = Path(log.name)
        session = preview._session()
        assert session is not None and session is preview._session()
        print(session.poll(), session.series.names())
    print("=== 自测通过 ===")
