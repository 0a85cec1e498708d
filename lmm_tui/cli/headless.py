"""A run without a cockpit: a progress line, what happens as lines, and a summary at the end.

It watches the run through `RunSession` like every front end. Ctrl+C or SIGTERM ask for a
checkpoint and the end, a second Ctrl+C ends at once, a hang-up lets the run go on unseen.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from lmm_tui.charts.text_plot import loss_picture
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.metrics import names
from lmm_tui.metrics.series.series import SeriesStore
from lmm_tui.runs.run_summary import end_summary
from lmm_tui.runs.session import RunSession, RunView
from lmm_tui.runs.shutdown import GRACE_S, leave_after
from lmm_tui.runs.status_text import count, duration
from lmm_tui.terminal import capabilities
from lmm_tui.terminal.safe_text import clean, fit

if TYPE_CHECKING:
    from lmm_tui.engine.config.run_config import RunConfig
    from lmm_tui.engine.training.run_host import EngineHost

LINE_EVERY_S = 5.0
"""Between progress lines where they cannot be written over."""

_LOOK_EVERY_S = 0.25
_QUIET_KINDS = frozenset({"probe", "eval", "sample", "end"})
"""Events that the progress line, the samples or the summary already tell."""


def train(config: RunConfig, resume: RunDir | None = None, *, grace_s: float = GRACE_S) -> int:
    """Train in this process and show it as plain text; the exit code.

    0 where the run finished, or was stopped by a command or by SIGTERM with its checkpoint, 130
    where Ctrl+C stopped it, 143 where `grace_s` were too short for a checkpoint, 1 where it failed.
    Raises LmmError where what was asked for cannot be trained.
    """
    from lmm_tui.engine.training.run_host import EngineHost

    host = EngineHost(config, resume)
    progress = ProgressPrinter(RunSession(host.run_dir.path), sys.stdout)
    with _signals(host, grace_s) as received:
        asked = False
        host.start()
        progress.say(f"{tr('run')} {clean(str(host.run_dir.path))}")
        ended = False
        while not ended:
            ended = host.join(_LOOK_EVERY_S)
            if received and not asked:
                asked = True
                progress.say(tr("stopping after this step, with a checkpoint (Ctrl+C: at once)"))
            if not ended:
                progress.look()
    progress.look()
    return _conclude(host, progress, received)


class ProgressPrinter:
    """Shows a session on a stream: one line written over, or a line now and then."""

    def __init__(self, session: RunSession, out: TextIO) -> None:
        self.session = session
        self._out = out
        self._started = time.monotonic()
        session.poll()  # What a resumed run did before is not news.
        self._events_shown = len(session.events)
        self._samples_shown = len(session.samples)
        self._in_place = ""
        self._last_line = ""
        self._line_due = 0.0

    @property
    def seconds(self) -> float:
        """Since it began to look."""
        return time.monotonic() - self._started

    def look(self) -> None:
        """Read what is new and show it."""
        self.session.poll()
        for event in self.session.events[self._events_shown :]:
            if event.get("kind") not in _QUIET_KINDS:
                self.say(event_line(event))
        self._events_shown = len(self.session.events)
        for sample in self.session.samples[self._samples_shown :]:
            if sample.get("kind") == "sample":
                self.say(fit(sample_line(sample), capabilities.size().columns - 1).rstrip())
        self._samples_shown = len(self.session.samples)
        self._show(progress_line(self.session.view, self.session.series))

    def say(self, text: str) -> None:
        """Print lines that stay."""
        self._write(self._rubbed_out() + text + "\n" + self._in_place)

    def end(self) -> None:
        """Take the progress line away."""
        self._write(self._rubbed_out())
        self._in_place = ""

    def _show(self, line: str) -> None:
        if capabilities.can_redraw(self._out):
            self._in_place = fit(line, capabilities.size().columns - 1)
            self._write(f"\r{self._in_place}")
            return
        self._in_place = ""
        if line != self._last_line and time.monotonic() >= self._line_due:
            self._last_line, self._line_due = line, time.monotonic() + LINE_EVERY_S
            self._write(line + "\n")

    def _rubbed_out(self) -> str:
        """What moves to the start of an empty line."""
        return f"\r{' ' * (capabilities.size().columns - 1)}\r" if self._in_place else ""

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:
            # Whoever read this has gone; the run has not.
            capabilities.leave(self.session.run_dir.output)


def progress_line(view: RunView, series: SeriesStore) -> str:
    """How far, how well and how fast, on one line; while it is set up, what it does."""
    status = view.status
    if not status.step:
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


def event_line(event: dict[str, Any]) -> str:
    mark = {"warning": "! ", "error": "!! "}.get(str(event.get("level")), "")
    kind, message = str(event.get("kind")), str(event.get("message", ""))
    words = tr("{kind}: {message}", kind=tr(kind), message=translate_message(message))
    return clean(mark + tr("step {step}: {words}", step=event.get("step"), words=words))


def sample_line(sample: dict[str, Any]) -> str:
    arrow = " → " if sample.get("answer") else ""
    words = f"{sample.get('prompt', '')}{arrow}{sample.get('text', '')}"
    reward = sample.get("reward")
    # First, since a long answer is cut off.
    earned = f" ({tr('reward')} {reward:.3g})" if isinstance(reward, int | float) else ""
    words = tr("{kind}: {message}", kind=f"{tr('sample')}{earned}", message=words)
    return clean(tr("step {step}: {words}", step=sample.get("step"), words=words))


def _conclude(host: EngineHost, progress: ProgressPrinter, received: list[int]) -> int:
    """Picture, PNGs and summary of what was trained; then the exit code, or why there is none."""
    progress.end()
    session = progress.session
    if session.view.status.step:
        if picture := loss_picture(session.series, session.view.info.references):
            progress.say(f"{picture}\n")
        progress.say(end_summary(host.run_dir, progress.seconds))
    if host.refused:
        raise host.refusal()
    if host.error:
        print(host.error, file=sys.stderr)
        return 1
    if not received or (received[0] == signal.SIGTERM and host.saved):
        return 0
    return 128 + received[0]


@contextmanager
def _signals(host: EngineHost, grace_s: float) -> Iterator[list[int]]:
    """Turn signals into requests while the block runs; yields those that asked for the end."""
    received: list[int] = []
    timers: list[Timer] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and received:
            os.write(2, b"\nended at once, without a checkpoint\n")
            os._exit(128 + number)
        received.append(number)
        host.stop()
        if number == signal.SIGTERM:
            timers.append(leave_after(grace_s))

    def leave(number: int, frame: FrameType | None) -> None:
        capabilities.leave(host.run_dir.output)

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, ask),
        signal.SIGTERM: signal.signal(signal.SIGTERM, ask),
    }
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup ignores it, which is as good
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, leave)
    try:
        yield received
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    from lmm_tui.engine.run.run_records import RunInfo, RunStatus

    seen = RunView(
        RunInfo("demo", "pretrain", 0.0, 0.0, "box", 1, 0.0),
        RunStatus("running", 120, 1000, eta_s=130.0, loss=4.231, tokens_per_s=18_200.0),
        "running",
    )
    print(line := progress_line(seen, SeriesStore()))
    print(event_line({"step": 9, "kind": "alert", "level": "error", "message": "loss is NaN"}))
    print(sample_line({"step": 9, "prompt": "小兔子", "text": "\nran\x1b[2J"}))
    assert line == "step 120/1000  12%  loss 4.231  18.2k tok/s  2 min 10 s to go"
    print("=== 自测通过 ===")
