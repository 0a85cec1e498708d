"""Runs the cockpit on the terminal, with training in this process or in another one.

However the app ends (a key, a closed ssh, SIGTERM, a crash), training ends only when this module
stops it: after a step, with a checkpoint. It also says how to get back to a run that continues.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

from lmm_tui.cli.app_runner import AppRunner
from lmm_tui.cockpit import keymap, keys
from lmm_tui.cockpit.app import CockpitApp
from lmm_tui.cockpit.messages import Departure
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.i18n.language import mark, tr
from lmm_tui.i18n.translate_messages import translate_message
from lmm_tui.runs.ranks.nodes import starts_ranks
from lmm_tui.runs.shutdown import GRACE_S, TERMINATED, leave_after
from lmm_tui.terminal import capabilities
from lmm_tui.terminal.capture import Terminal
from lmm_tui.terminal.safe_text import clean

if TYPE_CHECKING:
    from lmm_tui.engine.config.run_config import RunConfig
    from lmm_tui.engine.run.reader import Reader
    from lmm_tui.engine.training.run_host import EngineHost

SWITCH_INTERVAL_S = 0.0005
"""Of the interpreter while the screen and training share it; with the default of 5 ms a training
step waits for the screen."""

BESIDE_SCREEN = 5
"""Niceness of training threads; with all cores busy a key press would wait for a free one."""

INTERRUPTED = 128 + signal.SIGINT


def launch_cockpit(
    config: RunConfig,
    *,
    resume: RunDir | None = None,
    configure: bool,
    detach: bool = False,
    retries: int = 0,
    grace_s: float = GRACE_S,
    mouse: bool = True,
) -> int:
    """Start a run and show it; returns the exit code once both have ended.

    `configure` opens the configure screen first. With `detach`, and with several ranks, training
    gets a process of its own, resumed up to `retries` times after a crash, and this returns once
    the app is left. After
    SIGTERM there are `grace_s` seconds for a checkpoint. 0: finished, stopped, detached or
    nothing started; 1: failed; 143: ended by SIGTERM with no checkpoint of the end.
    Raises LmmError if the run was refused.
    """
    keys.remap(keymap.load())
    if detach or starts_ranks(config):
        engine = partial(_start_detached, resume=resume, retries=retries, grace_s=grace_s)
        return _launch_detached(config, engine, configure=configure, mouse=mouse)
    return _Owner(config, resume, grace_s).run(configure=configure, mouse=mouse)


def monitor_cockpit(
    run_dir: RunDir | None,
    *,
    runs_dir: Path | None = None,
    mouse: bool = True,
    called: str | None = None,
    early: Sequence[int] = (),
    named: bool = True,
) -> int:
    """Show a run of another process, or one that has ended; returns the exit code.

    None opens the list of the runs in `runs_dir`. `called` is the name of the run in messages, by
    default that of its directory. A run that was `named` is seen on its dashboard, any other on the
    screen of the last visit. `early` is what `early_signals` yields: those are obeyed now.
    """
    from lmm_tui.engine.run.reader import Reader

    keys.remap(keymap.load())
    session = None if run_dir is None else Reader(run_dir.path)

    def make_app(extras: dict[str, Any]) -> CockpitApp:
        if named and run_dir is not None:
            extras["habits"] = replace(extras["habits"], screen="")
        return CockpitApp(runner.session or session, runs_dir=runs_dir, **extras)

    with Terminal() as screen:
        runner = AppRunner(screen, make_app, mouse=mouse)
        with runner.signals(terminate=_leave_in_any_case):
            for number in early:
                signal.raise_signal(number)
            departure = runner.run()
    shown = runner.session or session
    return _leave_foreign(shown, departure, called) if shown else int(departure is None)


class _Owner:
    """Trains in this process, with or without an app."""

    def __init__(self, config: RunConfig, resume: RunDir | None, grace_s: float) -> None:
        self._config = config
        self._resume = resume
        self._host: EngineHost | None = None
        self._session: Reader | None = None
        self._elsewhere: Reader | None = None
        """A run of several ranks, as the configure screen chose it."""
        self._training = False
        self._stop_asked = False
        self._grace_s = grace_s
        self._terminated = False
        self._timer: Timer | None = None

    def run(self, *, configure: bool, mouse: bool) -> int:
        with Terminal() as self._screen:
            if not configure:
                self._open_run(self._config)
            runner = AppRunner(self._screen, self._make_app, mouse=mouse)
            with runner.signals(
                terminate=self._terminate, hang_up=self._give_up_terminal, interrupt=self._interrupt
            ):
                with _switch_interval(SWITCH_INTERVAL_S):
                    departure = runner.run()
                if self._host is not None:
                    self._start_training()
                    self._after(departure)
                    while not self._host.join(0.5):
                        pass  # Signal handlers run between two waits.
        if self._elsewhere is not None:
            return _leave_foreign(self._elsewhere, departure)
        if self._host is None:
            return TERMINATED if self._terminated else int(departure is None)
        return self._conclude(self._host)

    def _make_app(self, extras: dict[str, Any]) -> CockpitApp:
        extras["runs_dir"] = Path(self._config.runs_dir)
        if self._session is None:
            return CockpitApp(config=self._config, start=self._begin, owned=True, **extras)
        return CockpitApp(self._session, owned=True, on_painted=self._start_training, **extras)

    def _begin(self, config: RunConfig) -> Reader:
        """Start what the configure screen chose; called in a thread of the app."""
        if starts_ranks(config):
            from lmm_tui.engine.run.reader import Reader

            run = _start_detached(config, resume=None, retries=0, grace_s=self._grace_s)
            self._elsewhere = Reader(run.path)
            return self._elsewhere
        session = self._open_run(config)
        self._start_training()
        return session

    def _open_run(self, config: RunConfig) -> Reader:
        from lmm_tui.engine.run.reader import Reader
        from lmm_tui.engine.training.run_host import EngineHost

        self._host = EngineHost(config, self._resume)
        self._screen.redirect(self._host.run_dir.output)
        self._session = Reader(self._host.run_dir.path)
        return self._session

    def _start_training(self) -> None:
        """Only after the first paint: importing torch keeps the interpreter busy for a second."""
        if self._host is not None and not self._training:
            self._training = True
            self._host.start(nice=BESIDE_SCREEN)

    def _stop(self) -> None:
        if self._host is not None and not self._stop_asked:
            self._stop_asked = True
            self._host.stop()

    def _terminate(self) -> None:
        self._terminated = True
        if self._timer is None:
            self._timer = leave_after(self._grace_s)
        self._stop()

    def _interrupt(self) -> None:
        """Ctrl+C without an app: the first stops after the step, the second exits at once."""
        if self._stop_asked:
            self._screen.say(tr("stopped at once, without a final checkpoint"))
            os._exit(INTERRUPTED)
        self._stop()
        self._screen.say(
            tr("stopping after this step, with a checkpoint; ctrl+c again leaves at once")
        )

    def _give_up_terminal(self) -> None:
        if self._host is not None:
            capabilities.release_terminal(self._host.run_dir.output)

    def _after(self, departure: Departure | None) -> None:
        assert self._host is not None
        if departure is Departure.HANGUP:
            self._give_up_terminal()
        elif departure in (Departure.STOP, Departure.TERMINATE):
            self._stop()
            self._screen.say(tr("stopping after this step, with a checkpoint …"))
        elif departure is not Departure.QUIT:
            crashed = tr("The screen crashed, see {file}. ", file=self._host.run_dir.output)
            self._screen.say(
                ("" if departure else crashed) + self._how_to_come_back(self._host.run_dir)
            )

    def _how_to_come_back(self, run: RunDir) -> str:
        from lmm_tui.runs.status_text import run_argument

        return tr(
            "Training keeps running in this process, {pid}.\n"
            "  re-attach   lmm-tui monitor {run}   (another terminal)\n"
            "  background  ctrl+z, then bg   (training waits in between; `lmm-tui launch "
            "--detach` needs none of this)\n"
            "  stop        ctrl+c, with a checkpoint\n"
            "Closing this terminal does not end it.",
            pid=os.getpid(),
            run=run_argument(run.path),
        )

    def _conclude(self, host: EngineHost) -> int:
        """Print the summary; return the exit code or raise the refusal."""
        if self._timer is not None:
            self._timer.cancel()
        from lmm_tui.runs.end_summary import end_summary

        if host.run_dir.read_status().step:
            capabilities.print_or_log(end_summary(host.run_dir), host.run_dir.output)
        if host.error:
            if host.refused:
                raise host.refusal()
            capabilities.print_or_log(host.error, host.run_dir.output)
            return 1
        return TERMINATED if self._terminated and not host.saved else 0


def _start_detached(
    config: RunConfig, *, resume: RunDir | None, retries: int, grace_s: float
) -> RunDir:
    from lmm_tui.runs.detached import start

    return start(config, resume, retries=retries, grace_s=grace_s).run


def _launch_detached(
    config: RunConfig, engine: Callable[[RunConfig], RunDir], *, configure: bool, mouse: bool
) -> int:
    sessions: list[Reader] = []

    def begin(chosen: RunConfig) -> Reader:
        from lmm_tui.engine.run.reader import Reader

        sessions.append(Reader(engine(chosen).path))
        return sessions[-1]

    def make_app(extras: dict[str, Any]) -> CockpitApp:
        extras["runs_dir"] = Path(config.runs_dir)
        if shown := runner.session or (sessions[-1] if sessions else None):
            return CockpitApp(shown, **extras)
        return CockpitApp(config=config, start=begin, **extras)

    if not configure:
        begin(config)
    with Terminal() as screen:
        runner = AppRunner(screen, make_app, mouse=mouse)
        with runner.signals(terminate=_leave_in_any_case):
            departure = runner.run()
    shown = runner.session or (sessions[-1] if sessions else None)
    return _leave_foreign(shown, departure) if shown else int(departure is None)


def _leave_in_any_case() -> None:
    """A terminal that takes no output, such as that of a stalled ssh, holds the app up for ever."""
    leave_after(GRACE_S)


def _leave_foreign(session: Reader, departure: Departure | None, called: str | None = None) -> int:
    """Stop or describe a run that trains in another process, once the app is left."""
    from lmm_tui.runs.status_text import run_argument

    name = called or run_argument(session.run_dir.path)
    if departure is Departure.STOP:
        session.poll()
        said = tr("{run}: stopping after the step in progress, with a checkpoint …", run=name)
        print(said, flush=True)
        reply = session.send("stop")
        print(f"{name}: {clean(translate_message(reply.message))}")
        return 0 if reply.ok else 1
    if departure is Departure.DETACH:
        view = session.look()  # The screen's may be of a moment without a heartbeat.
        said = mark("{run} keeps running in process {pid}; `lmm-tui monitor {run}` shows it again")
        ended = f"{name}: {tr(view.state)}"
        print(tr(said, run=name, pid=view.info.pid) if view.active else ended)
    if departure is None:
        print(tr("the screen crashed; {run} is not affected", run=name), file=sys.stderr)
        return 1
    return TERMINATED if departure is Departure.TERMINATE else 0


@contextmanager
def _switch_interval(seconds: float) -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


if __name__ == "__main__":
    with _switch_interval(SWITCH_INTERVAL_S):
        print(f"{sys.getswitchinterval():.4f} s")
    print("=== 自测通过 ===")
