"""`data.stream`: training starts before the text is tokenised, on the same batches each time."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import SMALLEST, curve, silent, train

from lmm_tui.data.batching.streamed_batches import WINDOW, HeldOut, StreamedBatches
from lmm_tui.data.builtin.stories import story
from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation import build
from lmm_tui.data.preparation.stream import TokenStream, stream
from lmm_tui.data.text.corpus import open_text
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.stages.pretrain import PretrainStage
from lmm_tui.engine.stages.sft import SftStage


class Arriving:
    """Tokens 0, 1, 2 … of which more arrive with each wait."""

    def __init__(self, total: int, at_once: int) -> None:
        self._all, self._there, self._at_once = total, 0, at_once
        self.total: int | None = None
        self.furthest = 0

    def wait(self, tokens: int) -> bool:
        while self._there < tokens and self._there < self._all:
            self._there = min(self._there + self._at_once, self._all)
        if self._there == self._all:
            self.total = self._all
        return self._there >= tokens

    def read(self, start: int, stop: int) -> np.ndarray:
        assert stop <= self._there
        self.furthest = max(self.furthest, stop)
        return np.arange(start, stop)


def test_the_order_does_not_follow_from_how_fast_tokens_arrive() -> None:
    total = (40 + 2 * WINDOW + 300) * 8 + 1
    firsts = [
        np.concatenate([StreamedBatches(tokens, 8, 4, 7, 40).get(at)[0][:, 0] for at in range(900)])
        for tokens in (Arriving(total, 64), Arriving(total, total))
    ]
    assert (firsts[0] == firsts[1]).all()
    blocks = firsts[0] // 8 - 40
    epoch = 2 * WINDOW + 300
    assert sorted(blocks[:WINDOW]) == list(range(WINDOW))
    assert sorted(blocks[:epoch]) == list(range(epoch)) and len(blocks) > epoch
    assert list(blocks[:WINDOW]) != list(range(WINDOW))


def test_a_step_waits_for_its_window_alone() -> None:
    tokens = Arriving(10**9, 100)
    StreamedBatches(tokens, 8, 4, 7, 40).get(0)
    assert tokens.total is None and tokens.furthest <= (40 + WINDOW) * 8 + 1


def test_a_short_text_is_split_in_halves_and_one_too_short_refused() -> None:
    assert HeldOut(Arriving(801, 10), 8, 4).blocks == 50
    with pytest.raises(DataError, match="it has 12 tokens, and needs 17"):
        HeldOut(Arriving(12, 10), 8, 4)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "stories.jsonl"
    path.write_text("\n".join(json.dumps({"text": story(3, at)}) for at in range(500)))
    return path


def config(source: Path, **more: object):
    return resolve(
        assignments=SMALLEST
        | {
            "data.source": str(source),
            "data.stream": True,
            "data.cache_dir": str(source.parent / "cache"),
            "runs_dir": str(source.parent / "runs"),
            "train.batch_size": 4,
            "train.steps": 4,
            "log.every": 1,
            "log.checkpoint_every": 2,
            "log.probe_every": 0,
            "log.sample_every": 0,
            "log.tensorboard": False,
        }
        | more
    ).completed()


def test_a_streamed_run_resumes_bit_exact(source: Path) -> None:
    whole = curve(train(config(source, name="whole")).run_dir)
    half = train(config(source, name="half", **{"train.steps": 2}))
    again = curve(train(config(source, name="half"), half.run_dir).run_dir)
    assert {step: again[step] for step in (3, 4)} == {3: whole[3], 4: whole[4]}
    events = (half.run_dir.path / "events.jsonl").read_text("utf-8")
    assert "the text is tokenised while it is trained on; its first" in events


def opened(source: Path, cache: Path) -> TokenStream:
    return stream(
        open_text(str(source), 1.0), tokenizer=None, vocab_size=300, cache_dir=cache,
        progress=silent,
    )  # fmt: skip


def test_what_was_stopped_goes_on_with_the_same_tokens(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = opened(source, tmp_path / "whole")
    while whole.total is None:
        whole.wait(whole.tokens + 1)
    monkeypatch.setattr(build, "_CHUNK_BYTES", 5000)
    first = opened(source, tmp_path / "cache")
    first.wait(2000)
    first.stop.set()
    for thread in threading.enumerate():
        if thread.name == "tokenise":
            thread.join(60)
    second = opened(source, tmp_path / "cache")
    assert second.tokenizer.fingerprint == whole.tokenizer.fingerprint
    while second.total is None:
        second.wait(second.tokens + 1)
    assert second.total == whole.total
    assert (second.read(0, second.total) == whole.read(0, whole.total)).all()
    third = opened(source, tmp_path / "cache")  # From the whole entry.
    assert third.total == whole.total
    assert (third.read(5, 900) == whole.read(5, 900)).all()


def test_broken_rows_end_the_run_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([json.dumps({"text": "one two"})] * 30 + ["{"] * 5))
    found = opened(path, tmp_path / "cache")
    with pytest.raises(DataError, match=r"a.jsonl:31: not JSON .*; 5 of 35 lines are broken"):
        found.wait(10**9)


def test_what_cannot_be_streamed_is_refused(source: Path) -> None:
    chats = resolve(assignments=SMALLEST | {"data.stream": True, "stage": "sft"}).completed()
    with pytest.raises(ConfigError, match="data.stream: is for the text of pretrain"):
        SftStage(chats, torch.device("cpu"), silent)
    settings = resolve(
        assignments=SMALLEST | {"data.source": str(source), "data.stream": True, "train.epochs": 1}
    ).completed()
    with pytest.raises(ConfigError, match="the length of the text is not known while it is"):
        PretrainStage(settings, torch.device("cpu"), silent)
