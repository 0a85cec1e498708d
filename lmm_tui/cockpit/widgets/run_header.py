"""The first line of the dashboard: the state of the run, its name and what it trains.

All texts of the run are cleaned before they reach the terminal.
"""

from __future__ import annotations

import time

from rich.cells import cell_len
from textual.content import Content

from lmm_tui.cockpit.widgets.styled_line import Part, StyledLine, spread
from lmm_tui.engine.run.reader import LOG_FILE, RunView
from lmm_tui.i18n.language import listed, tr
from lmm_tui.i18n.number_format import age, count, duration
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics.health.verdict import Verdict, headline_of
from lmm_tui.terminal.safe_text import clean

BADGES = {
    "starting": ("○", "$accent"),
    "running": ("●", "$success"),
    "paused": ("‖", "$warning"),
    "stopping": ("◐", "$warning"),
    "finished": ("✓", "$success"),
    "stopped": ("■", "$secondary"),
    "failed": ("×", "$error"),
    "crashed": ("×", "$error"),
    "stale": ("?", "$warning"),
    "broken": ("×", "$error"),
    LOG_FILE: ("≡", "$secondary"),
}
"""A sign and a theme colour for each state of a run."""


VERDICT_SIGNS = {
    "ok": ("✓", "$text-success"),
    "unknown": ("?", "$foreground 70%"),
    "notice": ("●", "$accent"),
    "warning": ("▲", "$text-warning"),
    "error": ("✗", "$text-error"),
}
"""A sign and a style for each level of a verdict."""


class RunHeader(StyledLine):
    """`● RUNNING  name  pretrain  nano 0.49M  cpu fp32`, and the current activity at the right."""

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
        self.reword()

    def show_verdict(self, verdict: Verdict) -> None:
        """Show beside the state what is to be thought of the run."""
        shown = self._verdict
        self._verdict = verdict
        if shown is None or (shown.level, shown.headline) != (verdict.level, verdict.headline):
            self.reword()

    def compose_line(self, width: int) -> Content:
        if self._view is None:
            return Content()
        info = self._view.info
        model = " ".join(filter(None, (info.model, parameters(info.parameters))))
        arithmetic = " ".join(filter(None, (info.device, info.precision)))
        stage = info.stage
        if info.parent:
            stage = tr("{stage} from {parent}", stage=info.stage, parent=info.parent)
        process = tr("pid {pid} on {host}", pid=info.pid, host=info.host) if info.pid else ""
        kind = tr(self._view.log_format) if self._view.log_format else ""
        details = (stage, model, arithmetic, process, kind)
        state, now = self._view.state, self._activity(self._view)
        left = [badge(state, self._verdict), *verdict_badge(self._verdict, state)]
        taken = sum(cell_len(text) for text, _ in (*left, *now))
        name = Content(clean(info.name)).truncate(max(width - taken - 2, 1), ellipsis=True)
        left.append((f" {name.plain} ", "bold"))
        left += [(f" {clean(text)} ", "$foreground 70%") for text in details if text]
        return spread(width, left, now)

    def _activity(self, view: RunView) -> list[Part]:
        parts: list[Part] = []
        if self._unreadable:
            one = self._unreadable == 1
            text = tr(
                "{count} unreadable line" if one else "{count} unreadable lines",
                count=self._unreadable,
            )
            parts.append((f" {text} ", "$warning"))
        if view.state == LOG_FILE:
            written = age(time.time() - view.status.heartbeat)
            parts.append((f" {tr('last written {time} ago', time=written)} ", "$foreground 80%"))
        elif view.log_format and view.status.error:
            parts.append((f" {clean(translate_message(view.status.error))} ", "$error"))
        if view.state == "stale":
            silence = duration(time.time() - max(view.status.heartbeat, view.info.started))
            parts.append((f" {tr('no sign of life for {time}', time=silence)} ", "$warning"))
            if view.status.activity:  # What it was at, or why a run elsewhere is not heard of.
                now = clean(translate_message(view.status.activity))
                parts.append((f" {now} ", "$warning"))
        elif self._loading:
            parts.append((f" {tr('reading…')} ", "$accent"))
        elif view.active and view.status.activity:
            parts.append((f" {clean(translate_message(view.status.activity))} ", "$accent"))
        if self._pending:
            commands = listed(map(tr, self._pending))
            parts.append((f" {tr('asked: {commands}', commands=commands)} ", "$warning"))
        return parts


def badge(state: str, verdict: Verdict | None = None) -> Part:
    """The state as coloured text; red where the verdict is an error, however the run ended."""
    sign, colour = BADGES.get(state, ("?", "$warning"))
    if verdict is not None and verdict.level == "error":
        colour = "$error"
    return f" {sign} {tr(state.upper())} ", f"bold {colour} reverse"


def verdict_badge(verdict: Verdict | None, state: str) -> list[Part]:
    """The verdict beside the state, such as ` ✗ diverged at step 88 `, in its colour."""
    if verdict is None:
        return []
    level, step, headline = verdict.level, verdict.step, verdict.headline
    if headline == state:  # Said already; what came before it is not.
        if len(verdict.findings) < 2:
            return []
        before = verdict.findings[1].alert
        level, step, headline = before.severity, before.step, headline_of(before.rule)
    sign, colour = VERDICT_SIGNS[level]
    text = tr(headline)
    if step is not None:
        text = tr("{what} at step {step:,}", what=text, step=step)
    return [(f" {sign} {text} ", f"bold {colour}" if verdict.is_trouble else colour)]


def parameters(number: int) -> str:
    """`0.49M`, or nothing if unknown."""
    if not number:
        return ""
    return f"{number / 1e6:.2f}M" if number < 1e6 else count(number)


if __name__ == "__main__":
    from lmm_tui.engine.run.run_records import RunInfo, RunStatus

    header = RunHeader()
    info = RunInfo("小兔\x1b[31m子", "pretrain", 0, 0, "box", 7, 0.0, "cpu", "fp32", "nano")
    header._view = RunView(info, RunStatus(activity="sampling"), "running")
    print(header.compose_line(80))
    print("=== 自测通过 ===")
