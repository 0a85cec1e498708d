"""Forms look for devices, simulate and benchmark only where a test asks for it: that takes torch or
a process that imports it, and begins in whatever test lasts a few seconds."""

import pytest

from lmm_tui.cockpit.screens import configure, memory_simulation

NEVER_S = 1e6


@pytest.fixture(autouse=True)
def _forms_that_start_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configure, "DEVICES_AFTER_S", NEVER_S)
    monkeypatch.setattr(configure, "TRY_AFTER_S", NEVER_S)
    monkeypatch.setattr(memory_simulation, "AFTER_S", NEVER_S)
