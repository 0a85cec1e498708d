"""Settings of all tests: no example fails because the machine is busy, every run tries other
examples, and nothing is remembered in the folders of the user."""

import gc
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import forked
import pytest
from fork_server import EMPTY_PAGES, SLOW_STEPS
from forked_children import ForkedPopen, fork_children
from hypothesis import settings

from lmm_tui import child_process

os.environ.setdefault("OMP_NUM_THREADS", "1")  # Before torch: the workers share the cores.
# Hundreds of child processes would compile our modules anew where the environment forbids bytecode.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Under nohup what tests start would ignore a terminal that goes, until the app is there.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

for speaker in ("torchao", "torch.utils._pytree"):  # At their import, which tests cause, too.
    logging.getLogger(speaker).setLevel(logging.ERROR)

settings.register_profile("any machine", deadline=None, max_examples=25)
settings.load_profile("any machine")


def pytest_cmdline_main(config: pytest.Config) -> None:
    """Workers are forked from a process that has imported the tests (pytest-xdist comes first).

    For a coverage they import them themselves: it counts the lines of an import, too.
    """
    if config.option.tx and not config.option.cov_source and not hasattr(config, "workerinput"):
        python = forked.start_workers_server(config.invocation_params.args)
        config.option.tx = [f"popen//python={python}"] * len(config.option.tx)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first: what the other workers have done meanwhile, they take over."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    gc.freeze()  # The tests outlive each collection of garbage; it need not look at them.
    gc.set_threshold(10_000, 5, 5)  # Less often: each training collects all before it starts.


@pytest.fixture(scope="session", autouse=True)
def folders_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
        cache = _of_all_workers(tmp_path_factory) / "cache"
        fonts = Path.home() / ".cache" / "matplotlib"
        if fonts.is_dir():  # To list the fonts of a machine takes a second.
            shutil.copytree(fonts, cache / "matplotlib", dirs_exist_ok=True)
        patch.setenv("XDG_CACHE_HOME", str(cache))
        yield


def _of_all_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this session of tests: what one worker has tokenised the others need not."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture
def forked_children(monkeypatch: pytest.MonkeyPatch) -> list[ForkedPopen]:
    """All children that the product starts during a test; they are forked."""
    started: list[ForkedPopen] = []
    monkeypatch.setattr(child_process, "subprocess", fork_children(started))
    return started


@pytest.fixture
def empty_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this test and of its forked children draw their plots without panels."""
    from empty_pages import empty_page

    from lmm_tui.metrics.plots import page_layout

    monkeypatch.setattr(page_layout, "draw", empty_page)
    monkeypatch.setenv(EMPTY_PAGES, "yes")


@pytest.fixture
def slow_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forked children that train do so slowly."""
    monkeypatch.setenv(SLOW_STEPS, "yes")
