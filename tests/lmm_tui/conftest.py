"""A run to look at; and no test depends on settings and terminal of whoever runs it."""

from itertools import count

import idle_app
import pytest
from fake_run import FakeRun
from textual.app import App
from textual.css.stylesheet import Stylesheet

from lmm_tui.engine.run import run_dir
from lmm_tui.i18n import language
from lmm_tui.textual_patches.install import install

install()
idle_app.install()

# A fifth of the time to open an app goes into its style sheets, which are those of the last one.
_parse, _parsed = Stylesheet._parse_rules, {}


def _parse_once(self, css, read_from, is_default_rules=False, tie_breaker=0, scope=""):
    given = (css, read_from, is_default_rules, tie_breaker, scope)
    key = (*given, *self._variables.items())
    if key not in _parsed:
        _parsed[key] = _parse(self, *given)
    return _parsed[key]


Stylesheet._parse_rules = _parse_once

_NUMBERS = count()


@pytest.fixture(autouse=True)
def _settings_of_nobody(tmp_path_factory, monkeypatch):
    # It need not be there; `mktemp` would read the names of all folders of all tests.
    settings = tmp_path_factory.getbasetemp() / f"settings-{next(_NUMBERS)}"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(settings))
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    # A run that nobody keeps alive, and what is told of one, last for any test.
    monkeypatch.setattr(run_dir, "_STALE_AFTER_S", 60.0)
    monkeypatch.setattr(App, "NOTIFICATION_TIMEOUT", 600.0)


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
