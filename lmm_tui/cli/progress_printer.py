"""The progress of a run as plain text: one progress line, and a line for each event and sample.

It reads the run through `Reader`, as the cockpit does. On a terminal the progress line is
overwritten in place; elsewhere a new line is printed every few seconds.
"""

from __future__ import annotations

import time
from typing import TextIO

from lmm_tui.engine.run.events import RunEvent
from lmm_tui.engine.run.reader import Reader, RunView
from lmm_tui.engine.run.samples import RunSample
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.number_format import count, duration
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics import names
from lmm_tui.metrics.series.series import SeriesStore
from lmm_tui.terminal import capabilities
from lmm_tui.terminal.safe_text import clean, fit

LINE_EVERY_S = 5.0
"""Between progress lines where they cannot be overwritten."""

_QUIET_KINDS = frozenset({"probe", "validation", "sample", "end"})
"""Events already shown by the progress line, the samples or the summary."""


class ProgressPrinter:
    """Prints what is new in a session each time `look` is called."""

    def __init__(self, session: Reader, out: TextIO) -> None:
        self.session = session
        self._out = out
        session.poll()  # Earlier events of a resumed run are not printed again.
        self._events_shown = len(session.events)
        self._samples_shown = len(session.samples)
        self._in_place = ""
        self._last_line = ""
        self._line_due = 0.0

    def look(self) -> None:
        """Poll the session and print what is new."""
        self.session.poll()
        for event in self.session.events[self._events_shown :]:
            if event.kind not in _QUIET_KINDS:
                self.print(event_line(event))
        self._events_shown = len(self.session.events)
        for sample in self.session.samples[self._samples_shown :]:
            if sample.kind == "sample":
                self.print(fit(sample_line(sample), capabilities.size().columns - 1).rstrip())
        self._samples_shown = len(self.session.samples)
        self._show_progress(progress_line(self.session.view, self.session.series))

    def print(self, text: str) -> None:
        """Print lines above the progress line."""
        self._write(self._erasure() + text + "\n" + self._in_place)

    def end(self) -> None:
        """Erase the progress line."""
        self._write(self._erasure())
        self._in_place = ""

    def _show_progress(self, line: str) -> None:
        if capabilities.can_redraw(self._out):
            self._in_place = fit(line, capabilities.size().columns - 1)
            self._write(f"\r{self._in_place}")
            return
        self._in_place = ""
        if line != self._last_line and time.monotonic() >= self._line_due:
            self._last_line, self._line_due = line, time.monotonic() + LINE_EVERY_S
            self._write(line + "\n")

    def _erasure(self) -> str:
        """Characters that erase the progress line and return to its start."""
        return f"\r{' ' * (capabilities.size().columns - 1)}\r" if self._in_place else ""

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:
            # The terminal or pipe is closed; training continues and prints to output.log.
            capabilities.release_terminal(self.session.run_dir.output)


def progress_line(view: RunView, series: SeriesStore) -> str:
    """Step, losses, speed and time left on one line; before the first step, the activity."""
    status = view.status
    if not status.step:
        if view.state == "restarting":
            return clean(translate_message(status.activity))
        waiting_for = tr("loading") if view.state == "starting" else tr("first step")
        return clean(
            tr(
                "{kind}: {message}",
                kind=tr(view.state),
                message=translate_message(status.activity) or waiting_for,
            )
        )
    parts = [f"{tr('step')} {status.step}/{status.total_steps}", f"{view.progress:.0%}"]
    if view.state != "running" or status.activity:
        parts.append(translate_message(status.activity) or tr(view.state))
    if (reward := series.get(names.REWARD)) and reward.last_value is not None:
        parts.append(f"{tr('reward')} {reward.last_value:.3f}")
    elif status.loss is not None:
        parts.append(f"{tr('loss')} {status.loss:.3f}")
    if status.val_loss is not None:
        parts.append(f"{tr('val')} {status.val_loss:.3f}")
    if lr := series.get(names.LR):
        parts.append(f"{tr('lr')} {lr.last_value:.2e}")
    if status.tokens_per_s:
        parts.append(f"{count(status.tokens_per_s)} {tr('tok/s')}")
    if status.eta_s is not None:
        parts.append(tr("{time} to go", time=duration(status.eta_s)))
    return clean("  ".join(parts))


def event_line(event: RunEvent) -> str:
    """`step 9: checkpoint: step-000000009`; warnings begin with `!`, errors with `!!`."""
    mark = {"warning": "! ", "error": "!! "}.get(event.level, "")
    text = tr("{kind}: {message}", kind=tr(event.kind), message=translate_message(event.message))
    return clean(mark + tr("step {step}: {message}", step=event.step, message=text))


def sample_line(sample: RunSample) -> str:
    """`step 9: sample: once upon a time`."""
    arrow = " → " if sample.details.get("answer") else ""
    text = f"{sample.prompt}{arrow}{sample.text}"
    reward = sample.details.get("reward")
    # The reward comes first, since a long answer is cut off.
    shown = f" ({tr('reward')} {reward:.3g})" if isinstance(reward, int | float) else ""
    text = tr("{kind}: {message}", kind=f"{tr('sample')}{shown}", message=text)
    return clean(tr("step {step}: {message}", step=sample.step, message=text))


if __name__ == "__main__":
    print(event_line(RunEvent(9, "alert", "loss is NaN", "error")))
    print(sample_line(RunSample(9, prompt="小兔子", text="\nran\x1b[2J")))
    print("=== 自测通过 ===")
