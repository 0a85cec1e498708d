"""Batches that a thread lays out one step ahead: the same data, in the same steps."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from small_runs import MakeConfig, curve, of_stage, run, train

from lmm_tui.data.errors import DataError
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.stages.dpo import DpoStage
from lmm_tui.engine.stages.likelihood import LikelihoodStage
from lmm_tui.engine.stages.pretrain import PretrainStage
from lmm_tui.engine.training.batches_ahead import BatchesAhead


def test_the_next_step_is_laid_out_while_this_one_runs() -> None:
    begun = threading.Event()

    def lay_out(step: int) -> str:
        if step == 1:
            begun.set()
        return f"{step} {threading.current_thread().name}"

    batches = BatchesAhead(lay_out, ahead=True)
    here = threading.current_thread().name
    assert batches.take(0) == f"0 {here}"
    assert begun.wait(60)
    assert batches.take(1) == "1 batches"
    assert batches.take(0) == f"0 {here}"  # As after a rollback.
    assert batches.take(1) == "1 batches"
    batches.close()
    assert "batches" not in {thread.name for thread in threading.enumerate()}


def test_without_a_thread_each_step_makes_its_own() -> None:
    made: list[int] = []
    batches = BatchesAhead(made.append, ahead=False)
    for step in range(3):
        batches.take(step)
    batches.close()
    assert made == [0, 1, 2]


def test_an_error_is_that_of_the_step_it_was_for() -> None:
    def lay_out(step: int) -> int:
        if step == 2:
            raise DataError("the data end here")
        return step

    batches = BatchesAhead(lay_out, ahead=True)
    assert [batches.take(0), batches.take(1)] == [0, 1]
    for _ in range(2):  # Asked again, it is tried again.
        with pytest.raises(DataError, match="the data end here"):
            batches.take(2)
    assert batches.take(0) == 0
    batches.close()


def test_close_does_not_wait_for_data_that_never_come(monkeypatch: pytest.MonkeyPatch) -> None:
    never, waits = threading.Event(), threading.Event()

    def lay_out(step: int) -> None:
        if step == 1:
            waits.set()
            never.wait()

    monkeypatch.setattr("lmm_tui.engine.training.batches_ahead._CLOSING_S", 0.01)
    batches = BatchesAhead(lay_out, ahead=True)
    batches.take(0)
    assert waits.wait(60)
    batches.close()
    never.set()


@pytest.mark.parametrize("stage", ["pretrain", "dpo"])
def test_losses_are_those_of_batches_laid_out_in_their_step(
    stage: str, small: MakeConfig, chats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(name: str) -> RunConfig:
        if stage == "pretrain":
            return small(name=name, train__steps=4, train__grad_accum=2)
        return of_stage(small, chats, stage, name=name, train__steps=4)

    ahead = curve(train(config("ahead")).run_dir)
    for kind in (LikelihoodStage, DpoStage):
        monkeypatch.setattr(kind, "laid_out_ahead", False)
    assert curve(train(config("now")).run_dir) == ahead


def test_a_run_whose_data_fail_in_the_thread_says_so_at_that_step(
    small: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = PretrainStage.micro_batches

    def batches(stage: PretrainStage, step: int) -> list[MicroBatch]:
        if step == 3:
            raise DataError("data.source: the disk is gone")
        return real(stage, step)

    monkeypatch.setattr(PretrainStage, "micro_batches", batches)
    host = run(small(log__val_every=0))
    assert host.state == "failed" and host.refused and host.error == "data.source: the disk is gone"
    assert host.run_dir.read_status().step == 3
