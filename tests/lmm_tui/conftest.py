"""No test of the cockpit reads or changes the settings of whoever runs it."""

import pytest


@pytest.fixture(autouse=True)
def _settings_of_nobody(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
