"""No signal is lost, whatever the process is doing when it comes."""

import signal
import weakref

from lmm_tui.terminal.early_signals import early_signals


class Lock:
    """As the import system has one for each module, and lets go of it."""


def test_a_signal_within_a_callback_that_swallows_exceptions_is_noted() -> None:
    usual = signal.getsignal(signal.SIGHUP)
    with early_signals() as early:
        lock = Lock()
        watching = weakref.ref(lock, lambda _: signal.raise_signal(signal.SIGHUP))
        del lock
        signal.raise_signal(signal.SIGTERM)
        assert watching() is None and list(early) == [signal.SIGHUP, signal.SIGTERM]
    assert signal.getsignal(signal.SIGHUP) is usual
