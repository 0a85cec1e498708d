"""Writing fails at one place after the other: training goes on, and what was there stays."""

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import Refusals, full, hanging
from forked import Forked
from small_runs import MakeConfig, curve, lines

from lmm_tui.engine.checkpoints import background_saver
from lmm_tui.engine.checkpoints.checkpoint_files import verify
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.run_settings import settings_of
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.training.run_host import EngineHost
from lmm_tui.errors import LmmError
from lmm_tui.metrics.writers import line_file

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="has no /dev/full")

STEPS = 1_000_000
LIMIT_S = 300
"""Ends a hang, and says nothing of how fast the machine is."""
ERRORS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ESTALE, errno.EIO)


def in_a_child(what: Callable[[RunConfig], None], config: RunConfig) -> None:
    child = Forked.calling(_or_leave, what, config)
    _, errors = child.communicate(LIMIT_S)
    assert child.returncode == 0, errors


def _or_leave(what: Callable[[RunConfig], None], config: RunConfig) -> None:
    """What fails here must not wait for the thread that trains."""
    try:
        what(config)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def wait(host: EngineHost, ready: Callable[[], bool]) -> None:
    while not ready():
        assert not host.join(0.002), host.error


def stop(host: EngineHost) -> None:
    assert host.stop().result(LIMIT_S).ok
    assert host.join(LIMIT_S) and (host.state, host.error) == ("stopped", "")


def train_through_refusals(config: RunConfig) -> None:
    host = EngineHost(config)
    run, refusals = host.run_dir, Refusals()
    host.start()
    wait(host, lambda: len(list_checkpoints(run.checkpoints)) == 3)
    for place in (".writing-", "state.json", "status.", ".removing-"):
        for number in ERRORS if place == ".writing-" else (errno.ENOSPC,):
            refusals.begin(place, number)
            wait(host, lambda: refusals.refused > 0)
            whole = list_checkpoints(run.checkpoints)
            step = host.status.status.step
            wait(host, lambda step=step: host.status.status.step > step + 4)  # type: ignore[misc]
            refusals.end()
            assert place != ".writing-" or list_checkpoints(run.checkpoints) == whole
            saved = list_checkpoints(run.checkpoints)[-1]
            wait(host, lambda saved=saved: list_checkpoints(run.checkpoints)[-1] > saved)  # type: ignore[misc]
    refusals.begin("config.", errno.EROFS)
    # A change is a line of the events: the settings that the run began with are not touched.
    assert host.mailbox.send("set", {"lr": 1e-5, "clip": 0.5}).result(LIMIT_S).ok
    assert refusals.refused == 0
    refusals.end()
    refusals.begin("pinned", errno.ENOSPC)
    refused = host.mailbox.send("checkpoint", {"pin": True}).result(LIMIT_S)
    assert not refused.ok and "No space left" in refused.message
    refusals.end()
    stop(host)


def test_a_disk_that_refuses_one_place_after_the_other_ends_no_run(small: MakeConfig) -> None:
    config = small(train__steps=STEPS, log__checkpoint_every=2, log__keep=3)
    in_a_child(train_through_refusals, config)
    run = RunDir(Path(config.runs_dir) / "small")
    assert list(curve(run)) == list(range(1, run.read_status().step + 1))
    for path in list_checkpoints(run.checkpoints):
        verify(path)
    assert resolve(run.config).optim == config.completed().optim
    assert (settings_of(run).optim.clip, settings_of(run).peak_lr) == (0.5, 1e-5)
    alerts = [event["message"] for event in lines(run.events) if event["kind"] == "alert"]
    # One for each time that checkpoints could not be written, none for what tries again itself.
    unwritten = [text for text in alerts if "checkpoint not written" in text]
    assert len(unwritten) == len(ERRORS) + 1, "\n".join(unwritten)
    assert all("those before it are intact" in text for text in unwritten)


def train_while_files_are_full(config: RunConfig) -> None:
    host = EngineHost(config)
    run = host.run_dir
    host.start()
    wait(host, lambda: host.status.status.step > 3)
    for path in (run.metrics, run.events, run.samples, run.output):
        with full(path):
            step = host.status.status.step
            assert host.mailbox.send("sample", {"max_tokens": 2}).result(LIMIT_S).ok
            wait(host, lambda step=step: host.status.status.step > step + 4)  # type: ignore[misc]
    refusals = Refusals()
    refusals.begin("tfevents", errno.ENOSPC)
    wait(host, lambda: refusals.refused > 0)
    step = host.status.status.step
    wait(host, lambda: host.status.status.step > step + 4)
    stop(host)


def test_files_that_fill_up_while_they_are_open_end_no_run_and_lose_no_line(
    small: MakeConfig,
) -> None:
    config = small(train__steps=STEPS, log__tensorboard=True, log__probe_every=0)
    in_a_child(train_while_files_are_full, config)
    run = RunDir(Path(config.runs_dir) / "small")
    assert list(curve(run)) == list(range(1, run.read_status().step + 1))
    kinds = [event["kind"] for event in lines(run.events)]
    assert kinds.count("command") == 5 and kinds[0] == "start" and kinds[-1] == "end"
    assert sum(row["kind"] == "sample" for row in lines(run.samples)) == 16
    texts = [event["message"] for event in lines(run.events) if event["kind"] == "alert"]
    assert sum("metrics cannot be written (No space left on device)" in text for text in texts) == 1


def train_while_the_disk_hangs(config: RunConfig) -> None:
    host = EngineHost(config)
    run, refusals = host.run_dir, Refusals()
    host.start()
    wait(host, lambda: bool(list_checkpoints(run.checkpoints)))
    # Impatient only while the disk hangs: on a busy machine a healthy one may take as long.
    usual = line_file.PATIENCE_S, background_saver.PATIENCE_S
    line_file.PATIENCE_S, background_saver.PATIENCE_S = 0.1, 0.4
    refusals.begin("small/", None)
    # Before the files of lines hang: a checkpoint waits for rows, and would never begin.
    wait(host, lambda: refusals.refused > 1)  # Status and checkpoint.
    with contextlib.ExitStack() as hung:
        for path in (run.metrics, run.events, run.samples, run.output):
            hung.enter_context(hanging(path))
        step = host.status.status.step
        wait(host, lambda: host.status.status.step > step + 20)
        assert host.mailbox.send("sample", {"max_tokens": 2}).result(LIMIT_S).ok
        line_file.PATIENCE_S, background_saver.PATIENCE_S = usual
        refusals.end()
    saved = list_checkpoints(run.checkpoints)[-1]
    wait(host, lambda: list_checkpoints(run.checkpoints)[-1] > saved)
    stop(host)


def test_a_disk_that_hangs_holds_up_no_run_and_gets_every_line_later(small: MakeConfig) -> None:
    config = small(
        train__steps=STEPS, log__checkpoint_every=2, log__probe_every=0, health__enable=False
    )
    in_a_child(train_while_the_disk_hangs, config)
    run = RunDir(Path(config.runs_dir) / "small")
    assert sorted(curve(run)) == list(range(1, run.read_status().step + 1))
    texts = [event["message"] for event in lines(run.events) if event["kind"] == "alert"]
    assert set(texts) == {
        "metrics cannot be written (the disk does not answer): rows wait in memory until they can",
        "metrics are written again, with those that waited",
        "the disk does not answer: checkpoints are left out until the last is written",
    }
    # Of more than twenty steps; one may have been late before the disk hung.
    assert max(map(texts.count, texts)) <= 2
    assert sum(row["kind"] == "sample" for row in lines(run.samples)) == 4
    assert "checkpoints are left out" in run.output.read_text()


def start_where_nothing_can_be_written(config: RunConfig) -> None:
    refusals = Refusals()
    run = RunDir(Path(config.runs_dir) / "small")
    files = (
        "/output.log",
        "/events.jsonl",
        "/samples.jsonl",
        "/metrics.jsonl",
        ".config.",
        ".run.",
    )
    for place in ("/small", "/run.lock", *files):
        refusals.begin(place, errno.EROFS)
        try:
            EngineHost(config)
        except LmmError as refusal:
            assert "Read-only file system" in str(refusal) and "choose another" in str(refusal)
        else:
            raise AssertionError(place)
        refusals.end()
        assert not run.exists() and not run.socket_path().exists()
    for place in ("tokenizer.json", "tokens.bin"):
        changed = config.model_copy(update={"name": place.split(".")[0]})
        refusals.begin(place, errno.ENOSPC)
        host = EngineHost(changed)
        assert host.run() == "failed" and host.refused, host.error
        assert "No space left on device" in host.error and "\n" not in host.error
        refusals.end()
    host = EngineHost(config)
    assert host.run() == "finished", host.error


def test_a_start_that_cannot_write_is_refused_in_a_sentence_and_takes_no_name(
    small: MakeConfig, tmp_path: Path
) -> None:
    cache = str(tmp_path / "own-cache")
    in_a_child(start_where_nothing_can_be_written, small(train__steps=2, data__cache_dir=cache))


def resume_on_a_full_disk(config: RunConfig) -> None:
    assert EngineHost(config).run() == "finished"
    run = RunDir(Path(config.runs_dir) / "small")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    refusals = Refusals()
    refusals.begin("/small/", errno.ENOSPC)
    longer = config.model_copy(update={"train": config.train.model_copy(update={"steps": 8})})
    try:
        EngineHost(longer, run)
    except LmmError as refusal:
        assert "No space left on device" in str(refusal)
    refusals.end()
    after = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert after == before
    refusals.begin("/run.", errno.ENOSPC)
    refusals.end()
    assert EngineHost(longer, run).run() == "finished"
    assert run.read_info().resumed_steps == [4]


def test_a_resume_that_is_refused_for_a_full_disk_changes_nothing(small: MakeConfig) -> None:
    in_a_child(resume_on_a_full_disk, small(train__steps=4, log__checkpoint_every=2))
