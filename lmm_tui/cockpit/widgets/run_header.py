"""The second line of every screen: the header of the open run.

What it says is in `run_line`, which is imported with the first run: the form opens without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from lmm_tui.cockpit.widgets.styled_line import StyledLine

if TYPE_CHECKING:
    from lmm_tui.engine.run.reader import RunView
    from lmm_tui.metrics.health.verdict import Verdict


class RunHeader(StyledLine):
    """` ● RUNNING  ✓ healthy  name  pretrain …   ━━━━───  120 / 200  60%  ETA 8 min `.

    Hidden while no run is open; its ground is red while the run is in trouble.
    """

    DEFAULT_CSS = """
    RunHeader { display: none; }
    RunHeader.-trouble { background: $error 25%; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._view: RunView | None = None
        self._pending: tuple[str, ...] = ()
        self._unreadable = 0
        self._loading = False
        self._verdict: Verdict | None = None

    def show(
        self,
        view: RunView,
        *,
        pending: tuple[str, ...] = (),
        unreadable: int = 0,
        loading: bool = False,
    ) -> None:
        """`pending` are unanswered commands, `unreadable` counts lines that cannot be parsed."""
        self._view, self._pending = view, pending
        self._unreadable, self._loading = unreadable, loading
        self._update()

    def show_verdict(self, verdict: Verdict) -> None:
        """Show beside the state what is to be thought of the run."""
        shown = self._verdict
        self._verdict = verdict
        if shown is None or (shown.level, shown.headline) != (verdict.level, verdict.headline):
            self._update()

    def _update(self) -> None:
        self.display = self._view is not None
        if self._view is not None:
            from lmm_tui.cockpit.widgets.run_line import is_red

            self.set_class(is_red(self._view.state, self._verdict), "-trouble")
            self.reword()

    def compose_line(self, width: int) -> Content:
        if self._view is None:
            return Content()
        from lmm_tui.cockpit.widgets.run_line import run_line

        return run_line(
            width,
            self._view,
            self._verdict,
            pending=self._pending,
            unreadable=self._unreadable,
            loading=self._loading,
        )


if __name__ == "__main__":
    header = RunHeader()
    assert not header.compose_line(80)
    print("=== 自测通过 ===")
