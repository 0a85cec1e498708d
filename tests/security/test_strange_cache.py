"""A cache of prepared data may come with the run of a stranger, whose `data.cache_dir` names it:
nothing outside is touched, and nothing hangs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from strangers import NESTED, sparse

from lmm_tui.cli import main
from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation.cache import note_run, partial_of, runs_of
from lmm_tui.data.preparation.prepare import prepare
from lmm_tui.errors import LmmError

pytestmark = pytest.mark.timeout(60)

Capture = pytest.CaptureFixture[str]
Trap = Callable[[Path, Path], object]
"""Called with the folder of the entry, and a folder outside that must stay as it is."""


@pytest.fixture
def entry(trained: Path, tmp_path: Path) -> Path:
    """The entry of the text of `trained`, in a cache of a stranger."""
    cache = Path(shutil.copytree(trained.parent / "cache", tmp_path / "cache"))
    (entry,) = (path.parent for path in cache.glob("*/tokenizer.json"))
    return entry


def read(entry: Path) -> None:
    prepare(
        "builtin", tokenizer=None, vocab_size=300, seq_len=32, val_fraction=0.01, builtin_mb=0.1,
        cache_dir=entry.parent, progress=None,
    )  # fmt: skip


def instead(name: str, make: Trap) -> Trap:
    def set_trap(entry: Path, canary: Path) -> None:
        (entry / name).unlink(missing_ok=True)
        make(entry / name, canary)

    return set_trap


def as_a_link(entry: Path, canary: Path) -> None:
    shutil.copytree(entry, canary.with_name("moved"))
    shutil.rmtree(entry)
    entry.symlink_to(canary.with_name("moved"))


def unfinished_as_a_link(entry: Path, canary: Path) -> None:
    shutil.rmtree(entry)
    partial_of(entry).symlink_to(canary)


def unfinished_with(name: str, target: str) -> Trap:
    def set_trap(entry: Path, canary: Path) -> None:
        shutil.rmtree(entry)
        partial_of(entry).mkdir()
        (partial_of(entry) / name).symlink_to(canary / target)

    return set_trap


REFUSED: dict[str, Trap] = {
    "a linked entry": as_a_link,
    "a linked unfinished entry": unfinished_as_a_link,
    "a linked lock": instead("lock", lambda path, canary: path.symlink_to(canary / "run.json")),
    "a lock that leads nowhere yet": instead(
        "lock", lambda path, canary: path.symlink_to(canary / "new")
    ),
    "a pipe as tokens": instead("tokens.bin", lambda path, _: os.mkfifo(path)),
    "zeros as tokens": instead("tokens.bin", lambda path, _: path.symlink_to("/dev/zero")),
    "holes as tokens": instead("tokens.bin", lambda path, at: sparse(path.name)(path.parent, at)),
    "a pipe as record": instead("corpus.json", lambda path, _: os.mkfifo(path)),
    "a nested record": instead("corpus.json", lambda path, _: path.write_text(NESTED)),
    "a linked lock of an unfinished one": unfinished_with("lock", "run.json"),
    "linked tokens of an unfinished one": unfinished_with("tokens.bin.tmp", "run.json"),
}


@pytest.mark.parametrize("trap", REFUSED.values(), ids=REFUSED)
def test_an_entry_that_leads_out_is_refused_in_a_sentence(
    trap: Trap, entry: Path, canary: Path, capsys: Capture
) -> None:
    trap(entry, canary)
    with pytest.raises(LmmError) as refusal:
        read(entry)
    assert len(str(refusal.value).splitlines()) == 1
    assert main.run(["cache", "--cache-dir", "cache"]) == 0
    assert main.run(["cache", "prune", "--cache-dir", "cache", "--keep-size=0kb", "--yes"]) in (
        0,
        2,
    )
    assert "Traceback" not in capsys.readouterr().err


READ: dict[str, Trap] = {
    "a linked plan": unfinished_with("plan.json", "run.json"),
    "a linked survey": unfinished_with("survey.json", "run.json"),
    "a linked tokenizer": unfinished_with("tokenizer.json", "run.json"),
    "a linked record": unfinished_with("corpus.json", "run.json"),
}


@pytest.mark.parametrize("trap", READ.values(), ids=READ)
def test_a_link_in_an_unfinished_entry_is_replaced(trap: Trap, entry: Path, canary: Path) -> None:
    trap(entry, canary)
    read(entry)
    assert [path.name for path in entry.iterdir() if path.is_symlink()] == []


def test_the_runs_of_an_entry_are_noted_in_no_other_file(entry: Path, canary: Path) -> None:
    for trap in (
        instead("runs", lambda path, canary: path.symlink_to(canary / "run.json")),
        instead("runs", lambda path, _: os.mkfifo(path)),
        instead("runs", lambda path, _: path.write_bytes(b"\0\n\xff\n" + b"/" * 9000)),
    ):
        trap(entry, canary)
        note_run(entry, Path("run"))
        assert runs_of(entry) == []


def test_the_folder_of_the_cache_itself_may_be_a_link(entry: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(entry.parent)
    read(tmp_path / "link" / entry.name)


@pytest.mark.parametrize("width", [0, 3, 2**31])
def test_an_odd_width_of_ids_is_a_damaged_header(width: int, entry: Path) -> None:
    import zlib

    file = entry / "tokens.bin"
    content = bytearray(file.read_bytes())
    content[12:16] = width.to_bytes(4, "little")
    content[124:128] = zlib.crc32(content[:124]).to_bytes(4, "little")
    file.write_bytes(content)
    with pytest.raises(DataError, match="damaged|truncated"):
        read(entry)
