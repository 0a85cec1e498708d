"""`lmm-tui cache`: what is listed, what `prune` removes, and what it must never touch."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from preparing import Preparing
from processes import until

from lmm_tui.cli import main
from lmm_tui.data.builtin.stories import story
from lmm_tui.data.preparation.cache import hold_shared

Capture = pytest.CaptureFixture[str]
DAY = 86400


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "xdg" / "lmm-tui"
    folder.mkdir(parents=True)
    return folder


def source(tmp_path: Path, name: str = "stories.txt", start: int = 0) -> Path:
    path = tmp_path / name
    path.write_text("\n\n".join(story(1, start + at) for at in range(300)), encoding="utf-8")
    return path


def entry(cache: Path, digit: str, days: float, size: int = 1000) -> Path:
    """A whole entry that was last used so many days ago."""
    folder = cache / (digit * 24)
    folder.mkdir()
    (folder / "tokens.bin").write_bytes(bytes(size))
    (folder / "corpus.json").write_text(json.dumps({"source": f"{digit}.txt"}), encoding="utf-8")
    (folder / "lock").touch()
    for path in folder.iterdir():
        os.utime(path, (time.time() - days * DAY,) * 2)
    return folder


def listed(capsys: Capture) -> dict[str, dict[str, object]]:
    capsys.readouterr()
    assert main.run(["cache", "--json"]) == 0
    return {Path(item["path"]).name: item for item in json.loads(capsys.readouterr().out)}


def test_an_empty_cache_and_one_that_is_not_there(cache: Path, capsys: Capture) -> None:
    assert main.run(["cache"]) == 0
    assert capsys.readouterr().out == f"{cache}: 0 items, 0 B\n"
    cache.rmdir()
    assert main.run(["cache", "prune", "--yes"]) == 0
    assert main.run(["cache", "--cache-dir", "nowhere"]) == 2
    assert "nowhere is no folder" in capsys.readouterr().err


def test_a_run_is_named_where_its_tokens_are(tmp_path: Path, cache: Path, capsys: Capture) -> None:
    text = source(tmp_path)
    small = ["model.vocab_size=300", "model.hidden_size=32", "model.num_layers=2",
             "model.intermediate_size=64", "data.seq_len=32", "log.sample_every=0",
             "log.tensorboard=false", "train.steps=2"]  # fmt: skip
    flags = [word for value in small for word in ("--set", value)]
    given = ["train", "--device", "cpu", "--name", "first", "--data", str(text), *flags]
    assert main.run(given) == 0
    (item,) = listed(capsys).values()
    assert item["runs"] == ["first"] and item["state"] == "whole"
    assert item["made_of"] == str(text)
    folder = Path(str(item["path"]))
    assert item["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert main.run(["cache"]) == 0
    head, row, total = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["NAME", "SIZE", "MADE"] and "first" in row and str(text) in row
    assert total.startswith(f"{cache}: 1 items, ")


def test_what_a_live_process_reads_stays_and_is_removed_once_it_ended(
    tmp_path: Path, cache: Path, capsys: Capture
) -> None:
    reader = Preparing(source(tmp_path), cache)
    assert reader.stdout is not None
    while reader.stdout.readline() != "ready\n":
        assert reader.poll() is None
    (item,) = listed(capsys).values()
    assert item["in_use"]
    assert main.run(["cache", "prune", "--older-than", "0h", "--keep-size", "0MB", "--yes"]) == 0
    said = capsys.readouterr().out
    assert "nothing to remove" in said and "more than 0 B stay: they are in use" in said
    assert len(listed(capsys)) == 1
    reader.kill()
    reader.communicate(timeout=240)
    assert main.run(["cache", "prune", "--keep-size", "0MB", "--yes"]) == 0
    assert not list(cache.iterdir())


def test_what_is_being_written_stays_and_what_a_kill_left_goes(
    tmp_path: Path, cache: Path, capsys: Capture
) -> None:
    go_on = tmp_path / "go on"
    writer = Preparing(source(tmp_path), cache, ("tokenising", 5), str(go_on))
    until(lambda: writer.poll() is not None or list(cache.glob(".*/written.json")))
    (item,) = listed(capsys).values()
    assert item["in_use"] and item["state"] == "unfinished"
    assert item["made_of"] == str(tmp_path / "stories.txt")
    assert main.run(["cache", "prune", "--older-than", "0h", "--yes"]) == 0
    assert len(listed(capsys)) == 1
    go_on.touch()
    writer.communicate(timeout=240)
    assert writer.returncode == -signal.SIGKILL
    (item,) = listed(capsys).values()
    assert not item["in_use"] and item["state"] == "unfinished"
    assert main.run(["cache"]) == 0
    assert "orphan: unfinished" in capsys.readouterr().out
    assert main.run(["cache", "prune", "--yes"]) == 0
    assert not list(cache.iterdir())


def test_prune_takes_orphans_alone_and_whole_entries_by_age(cache: Path, capsys: Capture) -> None:
    new, old = entry(cache, "a", 2), entry(cache, "b", 40)
    damaged = entry(cache, "c", 1)
    (damaged / "tokens.bin").unlink()
    left = cache / f".{'d' * 24}.x8_abcde"
    left.mkdir()
    os.utime(left, (time.time() - DAY,) * 2)
    (cache / "mine").mkdir()
    (cache / "notes.txt").write_text("mine", encoding="utf-8")
    states = {name: item["state"] for name, item in listed(capsys).items()}
    assert states == {
        new.name: "whole", old.name: "whole", damaged.name: "damaged", left.name: "leftover"
    }  # fmt: skip
    assert main.run(["cache", "prune", "--yes"]) == 0
    assert set(listed(capsys)) == {new.name, old.name}
    assert main.run(["cache", "prune", "--older-than", "30d", "--yes"]) == 0
    assert set(listed(capsys)) == {new.name}
    assert {path.name for path in cache.iterdir()} == {new.name, "mine", "notes.txt"}


def test_keep_size_takes_what_was_used_longest_ago_first(cache: Path, capsys: Capture) -> None:
    first, second, third = (entry(cache, digit, days, 10_000) for digit, days in
                            (("a", 9), ("b", 5), ("c", 1)))  # fmt: skip
    lease = hold_shared(second)
    os.utime(second / "lock", (time.time() - 5 * DAY,) * 2)
    assert main.run(["cache", "prune", "--keep-size", "25kB", "--yes"]) == 0
    assert set(listed(capsys)) == {second.name, third.name}
    assert main.run(["cache", "prune", "--keep-size", "1kB", "--yes"]) == 0
    assert "more than 1.0 kB stay: they are in use" in capsys.readouterr().out
    assert set(listed(capsys)) == {second.name}
    assert lease is not None and not first.exists()


def test_answers_of_evaluations_are_listed_and_kept_while_one_runs(
    cache: Path, capsys: Capture
) -> None:
    answers = cache / "evaluation" / "answers" / "one.jsonl"
    answers.parent.mkdir(parents=True)
    answers.write_text("{}\n", encoding="utf-8")
    os.utime(answers, (time.time() - 40 * DAY,) * 2)
    running = hold_shared(cache / "evaluation")
    assert listed(capsys)["one.jsonl"]["in_use"]
    assert main.run(["cache", "prune", "--older-than", "30d", "--yes"]) == 0
    assert answers.exists()
    assert running is not None
    running.close()
    assert main.run(["cache", "prune", "--older-than", "30d", "--yes"]) == 0
    assert not answers.exists()


def test_nothing_is_removed_unasked(cache: Path, capsys: Capture) -> None:
    entry(cache, "a", 40)
    assert main.run(["cache", "prune", "--older-than", "30d"]) == 2
    assert "give --yes" in capsys.readouterr().err
    assert len(listed(capsys)) == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["prune", "--older-than", "30"], "'30' is not an amount such as 12h, 30d or 8w"),
        (["prune", "--keep-size", "5 apples"], "is not an amount such as 500MB or 5GB"),
        (["prune", "--json"], "--json belongs to `lmm-tui cache list`"),
        (["--yes"], "belong to `lmm-tui cache prune`"),
        (["--older-than", "3d"], "belong to `lmm-tui cache prune`"),
        (["clear"], "'clear' is not one of 'list', 'prune'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    cache: Path, capsys: Capture, flags: list[str], said: str
) -> None:
    assert main.run(["cache", *flags]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
