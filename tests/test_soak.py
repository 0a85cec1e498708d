"""The soak benchmark in small: what it counts as a kill, and that it finds nothing lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from forked import Forked

from benchmarks import soak


class ForkedLife:
    """A process as `multiprocessing` has them, forked from what other tests are forked from."""

    def __init__(self, target: Callable[..., None], args: tuple[object, ...]) -> None:
        self._begin = lambda: Forked.calling(target, *args)

    def start(self) -> None:
        self._forked = self._begin()

    def join(self, timeout: float | None = None) -> None:
        if timeout is None:
            self._forked.wait()
        else:
            time.sleep(timeout)

    def is_alive(self) -> bool:
        return self._forked.poll() is None

    def kill(self) -> None:
        self._forked.kill()

    @property
    def exitcode(self) -> int | None:
        return self._forked.poll()


@pytest.mark.usefixtures("empty_pages")
def test_a_run_killed_at_random_and_inside_a_write_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "PROCESSES", SimpleNamespace(Process=ForkedLife))
    outcome = soak.soak(tmp_path, random_kills=1, aimed_kills=1)
    assert (outcome.at_random, outcome.inside_a_write) == (1, 1)
    assert outcome.trouble == []
