"""The nodes of a run before any rank starts: who is missing, other versions, folders not shared."""

from pathlib import Path
from threading import Thread

import pytest

from lmm_tui.engine.parallel.rank_store import MemoryStore
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.errors import LmmError
from lmm_tui.runs.ranks.meeting import Meeting
from lmm_tui.runs.ranks.open_run import RanksError

NAMES = ("node1", "node2", "node3")


class Nodes:
    """Three nodes; each of the others runs in a thread, and what it gets or refuses is kept."""

    def __init__(self, run: RunDir, versions: dict[int, str] | None = None) -> None:
        self.store = MemoryStore()
        self.run = run
        self.got: dict[int, RunDir | LmmError] = {}
        self._versions = versions or {}
        run.ranks.mkdir(parents=True)

    def meeting(self, index: int, timeout_s: float = 20.0) -> Meeting:
        version = self._versions.get(index, "1.0")
        return Meeting(self.store, NAMES, index, timeout_s, version, shared_after_s=0.1)

    def follow(self, *indices: int) -> list[Thread]:
        def one(index: int) -> None:
            try:
                self.got[index] = self.meeting(index).follow()
            except LmmError as error:
                self.got[index] = error

        threads = [Thread(target=one, args=(index,)) for index in indices]
        for thread in threads:
            thread.start()
        return threads


def lead(nodes: Nodes, timeout_s: float = 20.0) -> None:
    first = nodes.meeting(0, timeout_s)
    try:
        first.wait_for_all()
        first.announce(nodes.run)
    except LmmError as error:
        first.refuse(str(error))
        raise


def test_all_get_the_run_of_the_first(tmp_path: Path) -> None:
    nodes = Nodes(RunDir(tmp_path / "run"))
    threads = nodes.follow(1, 2)
    lead(nodes)
    for thread in threads:
        thread.join()
    paths = [found.path for found in nodes.got.values() if isinstance(found, RunDir)]
    assert paths == [nodes.run.path] * 2


def test_a_node_that_does_not_come_is_named(tmp_path: Path) -> None:
    nodes = Nodes(RunDir(tmp_path / "run"))
    (thread,) = nodes.follow(1)
    with pytest.raises(RanksError, match="^node3 did not come within 0 s"):
        lead(nodes, timeout_s=0.3)
    thread.join()
    assert "node3 did not come" in str(nodes.got[1])  # The node that did come is told.


def test_mixed_versions_are_refused_everywhere(tmp_path: Path) -> None:
    nodes = Nodes(RunDir(tmp_path / "run"), {2: "0.9"})
    threads = nodes.follow(1, 2)
    with pytest.raises(RanksError, match=r"^node3 has lmm-tui 0\.9, node1 has 1\.0; install one"):
        lead(nodes)
    for thread in threads:
        thread.join()
    assert all("node3 has lmm-tui 0.9" in str(error) for error in nodes.got.values())


def test_a_folder_that_is_not_shared_is_found_before_anything_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = Nodes(RunDir(tmp_path / "run"))
    real = Meeting.sees
    monkeypatch.setattr(
        Meeting, "sees", lambda self, run, token: self._index != 2 and real(self, run, token)
    )
    threads = nodes.follow(1, 2)
    with pytest.raises(RanksError, match="run: node3 does not see there what node1 writes"):
        lead(nodes)
    for thread in threads:
        thread.join()
    assert isinstance(nodes.got[2], RanksError)


def test_a_token_of_another_run_in_the_same_place_is_not_taken(tmp_path: Path) -> None:
    nodes = Nodes(RunDir(tmp_path / "run"))
    (nodes.run.ranks / "token").write_text("an older one")
    assert not nodes.meeting(1).sees(nodes.run, "the new one")


def test_what_the_first_refuses_is_told_to_all(tmp_path: Path) -> None:
    nodes = Nodes(RunDir(tmp_path / "run"))
    nodes.meeting(0).refuse("no such file")
    with pytest.raises(RanksError, match="^no such file$"):
        nodes.meeting(1).follow()


def test_a_second_attempt_of_torchrun_finds_the_run_of_the_first() -> None:
    store = MemoryStore()
    assert Meeting(store, ("a",), 0, 1.0).opened_before() is None
    first = Meeting(store, ("a",), 0, 1.0)
    second = Meeting(store, ("a",), 0, 1.0, attempt=1)
    assert second.opened_before() is None
    first.say("run", {"path": "/runs/one", "token": ""})
    found = second.opened_before()
    assert found is not None and found.path == Path("/runs/one")
