"""Train in this process without a cockpit: progress as text, signals, and the exit code.

Ctrl+C and SIGTERM ask for a checkpoint and then stop; a second Ctrl+C exits at once. SIGHUP sends
the output to output.log and training continues.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from types import FrameType
from typing import TYPE_CHECKING

from lmm_tui.charts.text_plot import loss_picture
from lmm_tui.cli.progress_printer import ProgressPrinter
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import tr
from lmm_tui.runs.end_summary import end_summary
from lmm_tui.runs.shutdown import GRACE_S, leave_after
from lmm_tui.terminal import capabilities
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.engine.config.run_config import RunConfig
    from lmm_tui.engine.training.run_host import EngineHost

_POLL_EVERY_S = 0.25


def train(config: RunConfig, resume: RunDir | None = None, *, grace_s: float = GRACE_S) -> int:
    """Train and print progress; returns the exit code.

    0: finished, or stopped by a command or by SIGTERM with a checkpoint; 1: failed; 130: stopped by
    Ctrl+C; 143: `grace_s` seconds were too short for a checkpoint after SIGTERM. Raises LmmError if
    the run was refused.
    """
    from lmm_tui.engine.training.run_host import EngineHost

    host = EngineHost(config, resume)
    progress = ProgressPrinter(Reader(host.run_dir.path), sys.stdout)
    with _stopping_on_signals(host, grace_s) as received:
        announced = False
        host.start()
        progress.print(f"{tr('run')} {clean(str(host.run_dir.path))}")
        ended = False
        while not ended:
            ended = host.join(_POLL_EVERY_S)
            if received and not announced:
                announced = True
                progress.print(tr("stopping after this step, with a checkpoint (Ctrl+C: at once)"))
            if not ended:
                progress.look()
    progress.look()
    return _conclude(host, progress, received)


def _conclude(host: EngineHost, progress: ProgressPrinter, received: list[int]) -> int:
    """Print the loss curve and the summary; return the exit code or raise the refusal."""
    progress.end()
    session = progress.session
    if session.view.status.step:
        if picture := loss_picture(session.series, session.view.info.references):
            progress.print(f"{picture}\n")
        progress.print(end_summary(host.run_dir))
    if host.refused:
        raise host.refusal()
    if host.error:
        print(host.error, file=sys.stderr)
        return 1
    if not received or (received[0] == signal.SIGTERM and host.saved):
        return 0
    return 128 + received[0]


@contextmanager
def _stopping_on_signals(host: EngineHost, grace_s: float) -> Iterator[list[int]]:
    """Within the block signals stop the host; yields the list of those received."""
    received: list[int] = []
    timers: list[Timer] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and received:
            os.write(2, b"\nended at once, without a checkpoint\n")
            os._exit(128 + number)
        received.append(number)
        host.stop()
        if number == signal.SIGTERM:
            timers.append(leave_after(grace_s))

    def hang_up(number: int, frame: FrameType | None) -> None:
        capabilities.release_terminal(host.run_dir.output)

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, stop),
        signal.SIGTERM: signal.signal(signal.SIGTERM, stop),
    }
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # Under nohup it stays ignored.
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    try:
        yield received
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    from types import SimpleNamespace

    demo = SimpleNamespace(stop=lambda: print("asked to stop"))
    with _stopping_on_signals(demo, 30.0) as signals:  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGINT)
    assert signals == [signal.SIGINT]
    print("=== 自测通过 ===")
