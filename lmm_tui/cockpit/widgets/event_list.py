"""The events of a run, the newest on top: checkpoints, probes, commands, alerts, errors."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content

from lmm_tui.cockpit.widgets.feed import Feed
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs.run_history import is_abandoned
from lmm_tui.terminal.safe_text import clean

MOST_SHOWN = 300

_EFFECTS = {
    "sample": "sample",
    "evaluate": "eval",
    "checkpoint": "checkpoint",
}
"""By command, the kind of event that says the same."""
_STYLES = {"error": "$text-error", "warning": "$text-warning"}
_WIDE = 56


class EventList(Feed):
    """A line for each event: time, step, kind, message; alerts and errors are wrapped."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(tr("events"), tr("Checkpoints, commands and alerts appear here."), id)
        self._events: Sequence[Mapping[str, Any]] = ()

    def show(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Show `events`, oldest first; those that say what another one says are left out."""
        self._events = told_once(events)
        self._update_text()

    def on_resize(self) -> None:
        self._update_text()

    def _update_text(self) -> None:
        if not self._events:
            return
        latest = list(reversed(self._events[-MOST_SHOWN:]))
        kept = [event for event in latest if not is_abandoned(event)]
        lines = [event_content(event, self.text_width) for event in kept]
        if len(kept) < len(latest):
            apart = [event for event in latest if is_abandoned(event)]
            lines.append(_heading(apart))
            lines += [event_content(event, self.text_width).stylize("dim") for event in apart]
        self.set_text(Content("\n").join(lines), f"{len(self._events):,}")


def told_once(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Without what a panel of its own shows, and what the answer to a command repeats."""
    kept: list[Mapping[str, Any]] = []
    for event in events:
        if event.get("kind") == "command":
            effect = _EFFECTS.get(str(event.get("message", "")).partition(":")[0])
            while kept and effect and _is(kept[-1], effect, event.get("step")):
                kept.pop()
        if event.get("kind") != "probe":
            kept.append(event)
    return kept


def _is(event: Mapping[str, Any], kind: str, step: object) -> bool:
    return event.get("kind") == kind and event.get("step") == step


def _heading(abandoned: Sequence[Mapping[str, Any]]) -> Content:
    count = len(abandoned)
    text = (
        tr("1 event of abandoned steps")
        if count == 1
        else tr("{count} events of abandoned steps", count=count)
    )
    return Content.styled(f"── {text} ──", "$foreground 60%")


def event_content(event: Mapping[str, Any], width: int) -> Content:
    """An event as one line; warnings and errors are not truncated."""
    style = _STYLES.get(str(event.get("level")), "")
    kind, message = str(event.get("kind", "")), str(event.get("message", ""))
    line = Content.assemble(
        (_clock(event.get("time")) + "  " if width >= _WIDE else "", "$foreground 50%"),
        (f"{_step(event.get('step'))}  ", "$foreground 70%"),
        (f"{clean(tr(kind))} ", style or "$accent"),
        (clean(translate_message(message)), style),
    )
    return line if style else line.truncate(width, ellipsis=True)


def _clock(seconds: object) -> str:
    if not isinstance(seconds, int | float):
        return " " * 8
    try:
        return time.strftime("%H:%M:%S", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):
        return "--:--:--"


def _step(step: object) -> str:
    return f"{step:>6,}" if isinstance(step, int) else " " * 6


if __name__ == "__main__":
    event = {"step": 1200, "kind": "alert", "level": "error", "message": "loss is \x1b[5mNaN"}
    print(event_content({"time": 0, **event}, width=80))
    print("=== 自测通过 ===")
