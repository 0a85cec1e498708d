"""Train without a cockpit, on however many ranks: here, under a supervisor, or as one of them.

Several ranks get a supervisor in a process of its own, which this one waits for; a process that
torchrun, srun or mpirun started as a rank meets the others and trains with them.
"""

from __future__ import annotations

import runpy
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from lmm_tui.cli import headless
from lmm_tui.cli.progress_printer import ProgressPrinter
from lmm_tui.engine.run.rank_records import REFUSED
from lmm_tui.engine.run.reader import Reader
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import remove
from lmm_tui.i18n.language import tr
from lmm_tui.runs.end_summary import end_summary
from lmm_tui.runs.ranks.nodes import is_rank, nodes_of, starts_ranks
from lmm_tui.runs.shutdown import GRACE_S
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    import subprocess

    from lmm_tui.engine.config.run_config import RunConfig

_POLL_EVERY_S = 0.25


def train(config: RunConfig, resume: RunDir | None = None, *, grace_s: float = GRACE_S) -> int:
    """Train and print progress; returns the exit code, as `headless.train` does."""
    if is_rank():
        return _train_as_rank(config, resume)
    if not starts_ranks(config):
        return headless.train(config, resume, grace_s=grace_s)
    return _train_under_supervisor(config, resume, grace_s)


def _train_under_supervisor(config: RunConfig, resume: RunDir | None, grace_s: float) -> int:
    from lmm_tui.runs.detached import start

    engine = start(config, resume, grace_s=grace_s, summarises=False)
    prints = nodes_of().index == 0
    progress = ProgressPrinter(Reader(engine.run.path), sys.stdout)
    if prints:
        progress.print(f"{tr('run')} {clean(str(engine.run.path))}")
    with _forwarding_signals(engine.process) as received:
        said = False
        while engine.process.poll() is None:
            if received and not said:
                said = True
                progress.print(tr("stopping after this step, with a checkpoint …"))
            if prints:
                progress.look()
            threading.Event().wait(_POLL_EVERY_S)
    code = engine.process.wait()
    if not prints:
        return code
    progress.look()
    return _conclude(engine.run, progress, code, received, fresh=resume is None)


def _conclude(
    run: RunDir, progress: ProgressPrinter, code: int, received: list[int], *, fresh: bool
) -> int:
    progress.end()
    status = run.read_status()
    if code == REFUSED:
        if fresh and not status.step:
            remove(run.path, run.path.parent)
        raise LmmError(status.error)
    if status.step:
        progress.print(end_summary(run))
    if code == 1:
        print(clean(status.error), file=sys.stderr)
    if code == 0 and received and received[0] == signal.SIGINT:
        return 128 + signal.SIGINT
    return code


@contextmanager
def _forwarding_signals(process: subprocess.Popen[str]) -> Iterator[list[int]]:
    """Within the block SIGTERM and Ctrl+C stop the ranks with a checkpoint, a second Ctrl+C at
    once; yields the list of those received."""
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        again = number == signal.SIGINT and bool(received)
        received.append(number)
        process.send_signal(signal.SIGKILL if again else signal.SIGTERM)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _train_as_rank(config: RunConfig, resume: RunDir | None) -> int:
    from lmm_tui.runs.ranks.launched_rank import meet_as_rank
    from lmm_tui.runs.ranks.supervisor import WORKER

    run, rank = meet_as_rank(config, resume)
    if rank == 0:
        printing = threading.Event()
        thread = threading.Thread(target=_print_progress, args=(run, printing), daemon=True)
        thread.start()
    sys.argv[1:] = [str(run.path)]
    try:
        runpy.run_module(WORKER, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    if rank == 0:
        printing.set()
        thread.join(5.0)
    return code


def _print_progress(run: RunDir, done: threading.Event) -> None:
    progress = ProgressPrinter(Reader(run.path), sys.stdout)
    progress.print(f"{tr('run')} {clean(str(run.path))}")
    while not done.wait(_POLL_EVERY_S):
        progress.look()
    progress.look()
    progress.end()


if __name__ == "__main__":
    import subprocess

    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(9)"], text=True) as child:
        with _forwarding_signals(child) as signals:
            signal.raise_signal(signal.SIGTERM)
        print(child.wait(), signals)
    print("=== 自测通过 ===")
