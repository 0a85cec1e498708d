"""Preparing data that is killed, twice at once, or changed meanwhile: the result is the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from forked import Forked
from preparing import Preparing

from lmm_tui.data.builtin.stories import story
from lmm_tui.data.preparation import build
from lmm_tui.data.preparation.prepare import Corpus, prepare
from lmm_tui.data.tokenizing import document_encoder
from lmm_tui.data.tokenizing.tokenizer import Tokenizer

STORIES = [story(1, index) for index in range(300)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "stories.jsonl"
    lines = [json.dumps({"text": text}) for text in STORIES]
    path.write_text("\n".join([*lines, "broken"]), encoding="utf-8")
    return path


def contents(cache: Path) -> dict[str, bytes]:
    """All that an only entry holds but its lock."""
    (entry,) = cache.iterdir()
    return {path.name: path.read_bytes() for path in entry.iterdir() if path.name != "lock"}


@pytest.fixture(scope="module")
def uninterrupted(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    cache = tmp_path_factory.mktemp("whole") / "cache"
    Preparing(source, cache).result()
    return contents(cache)


def batches() -> int:
    """In how many batches they are tokenised: each is full with the document that passes 4,000."""
    count = held = 0
    for text in STORIES:
        held += len(text)
        if held >= 4000:
            count, held = count + 1, 0
    return count + bool(held)


def killed(source: Path, cache: Path, label: str, times: int) -> None:
    process = Preparing(source, cache, (label, times))
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("label", "times", "kept"),
    [
        ("reading", 1, 0),
        ("training the tokenizer", 1, 0),
        ("tokenising", 1, 0),
        ("tokenising", 2, 1),
        ("tokenising", 7, 6),
        ("measuring entropy", 1, None),
    ],
)
def test_a_killed_preparation_goes_on_where_it_was_and_leaves_no_orphan(
    source: Path, uninterrupted: dict[str, bytes], tmp_path: Path, label: str, times: int, kept: int
) -> None:
    cache = tmp_path / "cache"
    killed(source, cache, label, times)
    assert len(list(cache.iterdir())) == 1
    labels, notes = Preparing(source, cache).result()
    done = [at for name, at in labels if name == "tokenising"]
    whole = sum(len(text.encode()) for text in STORIES)
    if kept is None:
        assert not done
    else:
        assert done[-1] == whole
        assert done[0] > kept * 4000
        assert len(done) == batches() - kept
    assert not notes
    assert contents(cache) == uninterrupted


def test_killed_again_and_again_it_comes_to_an_end(
    source: Path, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    for _ in range(4):
        killed(source, cache, "tokenising", 3)
    labels, _ = Preparing(source, cache).result()
    done = [at for name, at in labels if name == "tokenising"]
    assert done[0] > 8 * 4000
    assert contents(cache) == uninterrupted


@pytest.mark.parametrize("damage", ["torn", "longer", "shorter", "flipped", "column", "no record"])
def test_what_a_kill_left_is_verified(
    source: Path, uninterrupted: dict[str, bytes], tmp_path: Path, damage: str
) -> None:
    cache = tmp_path / "cache"
    killed(source, cache, "tokenising", 5)
    (left,) = cache.iterdir()
    tokens = left / "tokens.bin.tmp"
    if damage == "longer":  # Killed between the tokens and their record.
        tokens.write_bytes(tokens.read_bytes() + b"\x01" * 999)
    elif damage == "shorter":
        tokens.write_bytes(tokens.read_bytes()[:-100])
    elif damage == "flipped":
        raw = bytearray(tokens.read_bytes())
        raw[400] ^= 1
        tokens.write_bytes(raw)
    elif damage == "column":
        (left / "tokens.bin.sizes").unlink()
    elif damage == "torn":
        (left / "written.json").write_text('{"documents": 3', encoding="utf-8")
    else:
        (left / "written.json").unlink()
    labels, _ = Preparing(source, cache).result()
    first = next(at for name, at in labels if name == "tokenising")
    assert (first > 4 * 4000) == (damage == "longer")
    assert contents(cache) == uninterrupted


def test_a_source_that_changed_meanwhile_is_noticed_and_tokenised_anew(
    source: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.jsonl"
    shutil.copy(source, mine)
    killed(mine, tmp_path / "cache", "tokenising", 5)
    with mine.open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps({"text": "one more"}))
    labels, notes = Preparing(mine, tmp_path / "cache").result()
    assert next(at for name, at in labels if name == "tokenising") < 3 * 4000
    assert len(notes) == 1 and notes[0].startswith("data.source: the text has changed since")
    Preparing(mine, tmp_path / "other").result()
    assert contents(tmp_path / "cache") == contents(tmp_path / "other")


def test_what_another_text_has_left_is_kept_for_it_until_it_is_old(
    source: Path, uninterrupted: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    killed(source, cache, "tokenising", 5)
    (left,) = cache.iterdir()
    other = tmp_path / "other.txt"
    other.write_text("\n".join(STORIES[:9]), encoding="utf-8")
    assert Preparing(other, cache).result()[1] == []
    assert left.exists()
    monkeypatch.setattr("lmm_tui.data.preparation.unfinished._ABANDONED_S", -1.0)
    ready(other, cache, tokenizer=None, vocab_size=401)
    assert not left.exists()


def test_two_at_once_tokenise_once_and_have_the_same(
    source: Path, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    both = [Preparing(source, tmp_path / "cache") for _ in "ab"]
    results = [process.result()[0] for process in both]
    worked = [any(name == "tokenising" for name, _ in labels) for labels in results]
    assert sorted(worked) == [False, True]
    assert contents(tmp_path / "cache") == uninterrupted


def test_who_waits_for_a_process_that_is_killed_goes_on_in_its_place(
    source: Path, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    cache, waiting = tmp_path / "cache", str(tmp_path / "waiting")
    first = Preparing(source, cache, ("tokenising", 7), waiting)
    while not list(cache.glob(".*/written.json")):
        assert first.poll() is None
    second = Preparing(source, cache, waits_for=waiting)
    labels, _ = second.result()
    first.communicate(timeout=60)
    assert first.returncode == -signal.SIGKILL
    assert any(name.startswith("waiting") for name, _ in labels)
    assert next(at for name, at in labels if name == "tokenising") > 6 * 4000
    assert contents(cache) == uninterrupted


def test_a_full_disk_is_one_sentence_and_what_was_done_is_kept(
    source: Path, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    code = f"""
import resource, sys
from pathlib import Path
from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation import build
from lmm_tui.data.preparation.prepare import prepare
build._CHUNK_BYTES = 4000
def progress(at, done, total):
    if at == "tokenising":
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, resource.RLIM_INFINITY))
try:
    prepare({str(source)!r}, tokenizer=None, vocab_size=400, seq_len=32, val_fraction=0.1,
        builtin_mb=1.0, cache_dir=Path({str(cache)!r}), progress=progress)
except DataError as error:
    print(error)
"""
    said, errors = Forked(["-c", code], tmp_path, os.environ).communicate()
    assert errors == ""
    assert said == (
        f"data.cache_dir: {cache} cannot be written (File too large); make room there or choose "
        "another folder; what was tokenised so far is kept\n"
    )
    labels, _ = Preparing(source, cache).result()
    assert next(at for name, at in labels if name == "tokenising") > 4000
    assert contents(cache) == uninterrupted


def ready(source: Path, cache: Path, **changes: object) -> Corpus:
    options = {"tokenizer": None, "vocab_size": 400, "seq_len": 32, "val_fraction": 0.1}
    return prepare(str(source), **{**options, **changes}, builtin_mb=0.1, cache_dir=cache,
                   progress=None)  # type: ignore[arg-type]  # fmt: skip


def test_a_cancelled_one_goes_on_too(
    source: Path, uninterrupted: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_CHUNK_BYTES", 4000)

    def cancel(label: str, done: int, total: int) -> None:
        if label == "tokenising" and done > 20_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(str(source), tokenizer=None, vocab_size=400, seq_len=32, val_fraction=0.1,
                builtin_mb=0.1, cache_dir=tmp_path / "cache", progress=cancel)  # fmt: skip
    labels, _ = Preparing(source, tmp_path / "cache").result()
    assert next(at for name, at in labels if name == "tokenising") > 20_000
    assert contents(tmp_path / "cache") == uninterrupted


def test_a_large_cache_is_mentioned_when_it_grows(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_LARGE_CACHE", 1000)
    (note,) = ready(source, tmp_path / "cache").notes
    assert note.startswith(f"the cache {tmp_path / 'cache'} has grown to ")
    assert ready(source, tmp_path / "cache").notes == ()


def test_wrong_ids_of_the_fast_encoder_are_found_and_replaced(
    source: Path, uninterrupted: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = document_encoder._load

    class Wrong:
        def __init__(self, tokenizer: Tokenizer) -> None:
            self._right = load(tokenizer)

        def encode_batch_flat(self, texts: list[str]) -> tuple[bytes, bytes]:
            ids, bounds = self._right.encode_batch_flat(texts)
            return bytes(4) + ids[4:], bounds

    if load(Tokenizer.train(STORIES[:3], 300)) is None:
        pytest.skip("fastokens is not installed")
    monkeypatch.setattr(document_encoder, "_load", Wrong)
    corpus = ready(source, tmp_path / "cache")
    assert corpus.notes[0].startswith("fastokens gave other tokens than tokenizers")
    assert contents(tmp_path / "cache") == uninterrupted


@pytest.mark.slow
def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    """A line of 48 MB against one of 8 MB: peaks of processes that prepare them."""
    Tokenizer.train(STORIES, 400).save(tmp_path / "tokenizer")
    words = " ".join(STORIES).replace("\n", " ") + " "
    peaks = []
    for megabytes in (8, 48):
        line = tmp_path / f"{megabytes}.txt"
        line.write_text(words * (megabytes * 1_000_000 // len(words)), encoding="utf-8")
        code = f"""
import resource, sys
from pathlib import Path
from lmm_tui.data.preparation.prepare import prepare
def peak():
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # ru_maxrss begins with that of the process that forked this one.
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
prepare({str(line)!r}, tokenizer={str(tmp_path / "tokenizer")!r}, vocab_size=400, seq_len=32,
    val_fraction=0.1, builtin_mb=1.0, cache_dir=Path({str(tmp_path / "cache")!r}),
    progress=lambda at, *_: at == "measuring entropy" and (print(peak()), exit()))
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              check=True, timeout=500)  # fmt: skip
        peaks.append(int(done.stdout) / (1024 if sys.platform == "linux" else 1024**2))
    assert peaks[1] < peaks[0] + 80, peaks
