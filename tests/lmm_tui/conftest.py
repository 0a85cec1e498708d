"""A run to look at; and no test reads or changes the settings of whoever runs it."""

import pytest
from fake_run import FakeRun


@pytest.fixture(autouse=True)
def _settings_of_nobody(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))


@pytest.fixture
def run(tmp_path):
    made = FakeRun(tmp_path / "runs" / "first-words")
    made.train(1, 20)
    yield made
    made.close()
