"""The events of a run, the newest on top: checkpoints, probes, commands, alerts, errors."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from textual.content import Content

from lmm_tui.cockpit.widgets.feed import Feed
from lmm_tui.engine.run.events import RunEvent
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.terminal.safe_text import clean

MOST_SHOWN = 300

_EFFECTS = {
    "sample": "sample",
    "evaluate": "validation",
    "checkpoint": "checkpoint",
}
"""By command, the kind of event that says the same."""
_STYLES = {"error": "$text-error", "warning": "$text-warning"}
_WIDE = 56


class EventList(Feed):
    """A line for each event: time, step, kind, message; alerts and errors are wrapped."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(tr("events"), tr("Checkpoints, commands and alerts appear here."), id)
        self._events: Sequence[RunEvent] = ()

    def show(self, events: Sequence[RunEvent]) -> None:
        """Show `events`, oldest first; those that say what another one says are left out."""
        self._events = told_once(events)
        self._update_text()

    def on_resize(self) -> None:
        self._update_text()

    def _update_text(self) -> None:
        if not self._events:
            return
        latest = list(reversed(self._events[-MOST_SHOWN:]))
        kept = [event for event in latest if not event.abandoned]
        lines = [event_content(event, self.text_width) for event in kept]
        if len(kept) < len(latest):
            apart = [event for event in latest if event.abandoned]
            lines.append(_heading(apart))
            lines += [event_content(event, self.text_width).stylize("dim") for event in apart]
        self.set_text(Content("\n").join(lines), f"{len(self._events):,}")


def told_once(events: Sequence[RunEvent]) -> list[RunEvent]:
    """Without what a panel of its own shows, and what the answer to a command repeats."""
    kept: list[RunEvent] = []
    for event in events:
        if event.kind == "command":
            effect = _EFFECTS.get(event.message.partition(":")[0])
            while kept and (kept[-1].kind, kept[-1].step) == (effect, event.step):
                kept.pop()
        if event.kind != "probe":
            kept.append(event)
    return kept


def _heading(abandoned: Sequence[RunEvent]) -> Content:
    count = len(abandoned)
    text = (
        tr("1 event of abandoned steps")
        if count == 1
        else tr("{count} events of abandoned steps", count=count)
    )
    return Content.styled(f"── {text} ──", "$foreground 60%")


def event_content(event: RunEvent, width: int) -> Content:
    """An event as one line; warnings and errors are not truncated."""
    style = _STYLES.get(event.level, "")
    line = Content.assemble(
        (_clock(event.time) + "  " if width >= _WIDE else "", "$foreground 50%"),
        (f"{_step(event.step)}  ", "$foreground 70%"),
        (f"{clean(tr(event.kind))} ", style or "$accent"),
        (_said(event), style),
        (_asker(event), "$foreground 60%"),
    )
    return line if style else line.truncate(width, ellipsis=True)


def _said(event: RunEvent) -> str:
    text = clean(translate_message(event.message))
    if event.kind == "command" and event.message.startswith("probe: "):
        # The values, by their internal names, stand in the panel of probes.
        return ": ".join(re.split("[:：] ?", text)[:2])
    return text


def _asker(event: RunEvent) -> str:
    by = event.details.get("by")
    return clean(tr(" (asked by {who})", who=by)) if isinstance(by, str) and by else ""


def _clock(seconds: float) -> str:
    if not seconds:
        return " " * 8
    try:
        return time.strftime("%H:%M:%S", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):
        return "--:--:--"


def _step(step: int | None) -> str:
    return " " * 6 if step is None else f"{step:>6,}"


if __name__ == "__main__":
    event = RunEvent(1200, "alert", "loss is \x1b[5mNaN", "error")
    print(event_content(event, width=80))
    print("=== 自测通过 ===")
