"""A run to look at; and no test depends on settings and terminal of whoever runs it."""

import pytest
import textual._wait
from fake_run import FakeRun
from textual.css.stylesheet import Stylesheet

from lmm_tui.i18n import language
from lmm_tui.textual_patches.install import install

install()

# After each key a pilot waits until the process has been idle for a fiftieth of a second; a few
# thousand keys are pressed here. What takes longer than a key is waited for by its outcome.
textual._wait.SLEEP_GRANULARITY = 1 / 200
textual._wait.SLEEP_IDLE = textual._wait.SLEEP_GRANULARITY / 20

# A fifth of the time to open an app goes into its style sheets, which are those of the last one.
_parse, _parsed = Stylesheet._parse_rules, {}


def _parse_once(self, css, read_from, is_default_rules=False, tie_breaker=0, scope=""):
    given = (css, read_from, is_default_rules, tie_breaker, scope)
    key = (*given, *self._variables.items())
    if key not in _parsed:
        _parsed[key] = _parse(self, *given)
    return _parsed[key]


Stylesheet._parse_rules = _parse_once


@pytest.fixture(autouse=True)
def _settings_of_nobody(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.fixture
def run(tmp_path):
    made = FakeRun(tmp_path / "runs" / "first-words")
    made.train(1, 20)
    yield made
    made.close()


@pytest.fixture
def in_chinese():
    language.use("zh")
    yield
    language.use("en")
