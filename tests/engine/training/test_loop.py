"""The training loop: what it promises about resuming, observing and steering."""

import math
import os
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import psutil
import pytest
import torch
from small_runs import MakeConfig, curve, lines, stop_after, train

from lmm_tui.engine.config.run_settings import settings_of
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.control_protocol import ControlError
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_dir_error import RunDirError
from lmm_tui.engine.stages.pretrain import PretrainStage
from lmm_tui.engine.training.run_host import EngineHost


def run_until(host: EngineHost, step: int) -> None:
    """Start the host's thread and wait until it has logged `step`."""
    host.start()
    while host.status.status.step < step:
        assert not host.join(0.005), host.error


COMPARED = ("train/loss", "train/grad_norm", "train/loss_ema", "train/clip_rate", "val/loss")


def test_a_run_that_was_stopped_equals_a_whole_one_to_the_last_bit(small: MakeConfig) -> None:
    changes = {"log__probe_every": 7, "train__steps": 20}
    whole = train(small(name="whole", **changes))
    halves = EngineHost(small(name="halves", log__checkpoint_every=10, **changes))
    stop_after(halves, 11)
    assert [path.name for path in list_checkpoints(halves.run_dir.checkpoints)] == [
        "step-000000010"
    ]
    train(small(name="halves", **changes), resume=halves.run_dir)
    for name in COMPARED:
        assert curve(whole.run_dir, name) == curve(halves.run_dir, name)
    assert len(curve(whole.run_dir)) == 20
    assert halves.run_dir.read_info().resumed_steps == [10]


@pytest.mark.parametrize(
    "changes",
    [{"train__grad_accum": 2}, {"optim__name": "muon"}, {"train__precision": "bf16"}],
    ids=str,
)
def test_five_steps_and_five_more_equal_ten_to_the_last_bit(
    small: MakeConfig, changes: dict[str, object]
) -> None:
    """Where the learning rate of a step does not depend on how many there are."""
    changes |= {"optim__schedule": "constant", "log__probe_every": 7}
    whole = train(small(name="whole", train__steps=10, **changes))
    first = train(small(name="parts", train__steps=5, **changes))
    train(small(name="parts", train__steps=10, **changes), resume=first.run_dir)
    for name in COMPARED:
        assert curve(whole.run_dir, name) == curve(first.run_dir, name)
    assert len(curve(whole.run_dir)) == 10
    assert first.run_dir.read_info().resumed_steps == [5]


def test_observation_does_not_change_training_by_a_bit(small: MakeConfig) -> None:
    watched = train(small(name="watched", log__probe_every=1, log__sample_every=2))
    blind = train(small(name="blind", log__probe_every=0, log__val_every=0))
    assert curve(watched.run_dir) == curve(blind.run_dir)


def test_accumulated_micro_batches_weigh_by_their_tokens(small: MakeConfig) -> None:
    once = train(small(name="once", train__batch_size=8, log__val_every=0))
    twice = train(small(name="twice", train__batch_size=4, train__grad_accum=2, log__val_every=0))
    for step, loss in curve(once.run_dir).items():
        assert curve(twice.run_dir)[step] == pytest.approx(loss, rel=1e-4)


def test_a_run_leaves_all_that_its_directory_promises(small: MakeConfig) -> None:
    host = train(small(log__sample_every=6, log__checkpoint_every=5, log__keep=2))
    run = host.run_dir
    assert host.state == run.read_status().state == "finished"
    rows = lines(run.metrics)
    first = rows[0]
    assert list(first)[:3] == ["step", "time", "tokens"]
    assert first["step"] == 1 and first["tokens"] == 4 * 32
    assert first["train/loss"] == pytest.approx(math.log(300), abs=0.2)
    assert {"grad/embed", "grad/layers.0", "grad/layers.1", "grad/norm"} <= first.keys()
    assert math.sqrt(
        sum(value**2 for name, value in first.items() if name.startswith("grad/"))
    ) == pytest.approx(first["train/grad_norm"], rel=1e-5)
    assert max(row.get("system/cpu_percent", 0) for row in rows) > 10
    assert 0.05 < first["system/memory_gb"] < psutil.virtual_memory().total / 1e9
    assert list(curve(run, "val/loss")) == [5, 10, 12]
    assert list(curve(run, "probe/entropy")) == [4, 8, 12]
    assert {name for row in rows for name in row if name.startswith("probe/")} >= {
        "probe/participation_ratio",
        "probe/cosine_sim_inter",
        "probe/top1_acc",
    }
    kinds = [event["kind"] for event in lines(run.events)]
    assert kinds[0] == "start" and kinds[-1] == "end"
    assert [path.name for path in list_checkpoints(run.checkpoints)] == [
        "step-000000010",
        "step-000000012",
    ]
    samples = lines(run.samples)
    assert {sample["step"] for sample in samples} == {6, 12}
    assert {sample["kind"] for sample in samples} == {"sample", "token_losses"}
    assert set(run.read_info().references) == {"ln V", "unigram", "bigram"}
    assert "step 12: end: finished" in run.output.read_text()


def test_the_learning_rate_follows_its_schedule(small: MakeConfig) -> None:
    host = train(small(optim__lr=1e-3, optim__min_lr_ratio=0.1))
    rates = curve(host.run_dir, "train/lr")
    assert max(rates.values()) == pytest.approx(1e-3)
    assert rates[1] < rates[2] < rates[3]
    assert rates[12] < rates[8] < rates[5]


class TestSteering:
    """Commands to a run that is training in a thread."""

    @pytest.fixture
    def host(self, small: MakeConfig) -> EngineHost:
        host = EngineHost(small(train__steps=100_000, log__val_every=0, log__probe_every=0))
        run_until(host, 2)
        return host

    @staticmethod
    def answer(reply: Future[Reply]) -> Reply:
        return reply.result(timeout=60)

    def end(self, host: EngineHost) -> Reply:
        reply = host.stop()
        assert host.join(60)
        return self.answer(reply)

    def test_pause_holds_the_run_at_a_step_and_resume_goes_on(self, host: EngineHost) -> None:
        paused = self.answer(host.mailbox.send("pause"))
        assert paused.ok and host.status.status.state == "paused"
        assert host.status.status.step == paused.step
        probed = self.answer(host.mailbox.send("probe"))
        assert probed.ok and probed.step == paused.step and "entropy" in probed.message
        self.answer(host.mailbox.send("resume"))
        while host.status.status.step <= paused.step:
            assert not host.join(0.005)
        assert self.end(host).ok

    def test_a_paused_run_can_be_stopped(self, host: EngineHost) -> None:
        at = self.answer(host.mailbox.send("pause")).step
        assert self.end(host) == Reply(True, "stopped with a checkpoint", at)

    def test_stop_saves_the_step_that_it_reports(self, host: EngineHost) -> None:
        stopped = self.end(host)
        saved = list_checkpoints(host.run_dir.checkpoints)[-1]
        assert saved.name == f"step-{stopped.step:09d}"
        assert host.run_dir.read_status().state == "stopped"

    def test_set_changes_the_rate_and_the_settings_of_the_run(self, host: EngineHost) -> None:
        reply = self.answer(host.mailbox.send("set", {"lr": 1e-5, "clip": 0.25}))
        assert reply.ok and "peak learning rate" in reply.message
        saved = settings_of(host.run_dir).optim
        assert (saved.lr, saved.clip) == (1e-5, 0.25)
        self.end(host)
        rates = curve(host.run_dir, "train/lr")
        assert max(rate for step, rate in rates.items() if step > reply.step) <= 1e-5
        assert rates[reply.step] > 1e-4

    @pytest.mark.parametrize(
        ("command", "args", "sentence"),
        [
            ("set", {"lr": -1}, "optim.lr: should be greater than 0"),
            ("set", {"mood": 1}, "unknown setting mood"),
            ("set", {}, "nothing to set"),
            ("sample", {"max_tokens": "many"}, "max_tokens: expected a number"),
            ("sample", {"max_tokens": 10**9}, "less than or equal to 4096"),
            ("sample", {"temperature": float("nan")}, "should be a finite number"),
            ("sample", {"colour": 1}, "unknown option colour"),
            ("evaluate", {"tasks": "../../etc/passwd"}, "no name of an lm-eval task"),
        ],
    )
    def test_a_command_that_cannot_be_done_says_why_and_training_goes_on(
        self, host: EngineHost, command: str, args: dict[str, object], sentence: str
    ) -> None:
        reply = self.answer(host.mailbox.send(command, args))
        assert not reply.ok and sentence in reply.message
        assert self.end(host).ok

    def test_a_sample_of_my_prompt_is_written(self, host: EngineHost) -> None:
        args = {"prompt": "小兔子", "max_tokens": 3, "temperature": 0}
        assert self.answer(host.mailbox.send("sample", args)).ok
        self.end(host)
        sample = lines(host.run_dir.samples)[0]
        assert (sample["prompt"], sample["tokens"]) == ("小兔子", 3)

    def test_validation_and_checkpoint_on_request(self, host: EngineHost) -> None:
        evaluated = self.answer(host.mailbox.send("evaluate"))
        saved = self.answer(host.mailbox.send("checkpoint"))
        self.end(host)
        assert curve(host.run_dir, "val/loss").keys() == {evaluated.step}
        assert (host.run_dir.checkpoints / f"step-{saved.step:09d}" / "state.json").is_file()


def test_a_directory_that_holds_a_run_is_not_overwritten(small: MakeConfig) -> None:
    host = train(small(train__steps=2))
    before = host.run_dir.metrics.read_bytes()
    with pytest.raises(RunDirError, match="holds a run already"):
        EngineHost(small())
    with pytest.raises(RunDirError, match="nothing left to train, step 2 of 2"):
        EngineHost(small(train__steps=2), resume=host.run_dir)
    assert host.run_dir.metrics.read_bytes() == before


def test_a_finished_run_goes_on_with_more_steps(small: MakeConfig) -> None:
    host = train(small(train__steps=4, optim__schedule="constant"))
    train(small(train__steps=8, optim__schedule="constant"), resume=host.run_dir)
    whole = train(small(name="whole", train__steps=8, optim__schedule="constant"))
    assert curve(host.run_dir) == curve(whole.run_dir)


def test_a_damaged_checkpoint_is_named_and_nothing_is_lost(small: MakeConfig) -> None:
    host = train(small(train__steps=4))
    damaged = list_checkpoints(host.run_dir.checkpoints)[-1] / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-10])
    before = host.run_dir.metrics.read_bytes()
    again = EngineHost(small(train__steps=8), resume=host.run_dir)
    assert again.run() == "failed"
    assert "damaged checkpoint" in again.error
    assert "Traceback" not in again.error
    assert host.run_dir.metrics.read_bytes() == before


def test_bad_data_fails_the_run_with_its_sentence(small: MakeConfig, tmp_path: Path) -> None:
    host = EngineHost(small(data__source=str(tmp_path / "none.txt")))
    assert host.run() == "failed"
    assert "none.txt" in host.error and "Traceback" not in host.error
    assert host.run_dir.read_status().error == host.error


def test_a_bug_in_training_is_kept_with_its_traceback(
    small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr("lmm_tui.engine.training.run_setup.build_optimizers", broken)
    host = EngineHost(small())
    assert host.run() == "failed"
    assert "Traceback" in host.error and "out of luck" in host.error
    assert lines(host.run_dir.events)[-2]["traceback"] == host.error


def test_a_loss_that_is_not_a_number_raises_one_alert_and_is_logged_as_such(
    small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        PretrainStage, "loss", lambda *_, **__: (torch.tensor(float("nan"), requires_grad=True), {})
    )
    host = train(small(train__steps=3, log__val_every=0, log__probe_every=0))
    assert set(curve(host.run_dir).values()) == {"NaN"}
    alerts = [event for event in lines(host.run_dir.events) if event["kind"] == "alert"]
    assert [(alert["step"], alert["level"]) for alert in alerts] == [(1, "error")]


def test_weights_of_a_checkpoint_are_plain_safetensors(small: MakeConfig) -> None:
    from safetensors.torch import load_file

    host = train(small(train__steps=2))
    weights = load_file(list_checkpoints(host.run_dir.checkpoints)[-1] / "model.safetensors")
    assert weights["model.embed_tokens.weight"].dtype == torch.float32


def test_a_validation_that_is_not_a_number_ends_no_run(
    small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        PretrainStage, "loss", lambda *_, **__: (torch.tensor(float("nan"), requires_grad=True), {})
    )
    host = train(small(train__steps=3, log__val_every=2, log__probe_every=0))
    assert host.state == "finished"
    evals = [event for event in lines(host.run_dir.events) if event["kind"] == "validation"]
    assert [event["numbers"]["val/loss"] for event in evals] == ["NaN", "NaN"]
    assert curve(host.run_dir, "val/loss") == {2: "NaN", 3: "NaN"}


def test_a_run_that_gets_no_socket_leaves_its_name_free(small: MakeConfig, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "small")
    run.create()
    run.socket_path().write_text("mine")
    with pytest.raises(ControlError, match="not a socket"):
        EngineHost(small())
    assert run.socket_path().read_text() == "mine"
    run.socket_path().unlink()
    assert train(small(train__steps=1)).state == "finished"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no niceness")
def test_training_gives_way_to_a_screen_in_its_process(small: MakeConfig) -> None:
    host = EngineHost(small(train__steps=100_000))
    host.start(nice=5)
    while not host.status.status.step:
        assert not host.join(0.005), host.error
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    (training,) = (one.native_id for one in threading.enumerate() if one.name == "train")
    assert os.getpriority(os.PRIO_PROCESS, training or 0) == min(ours + 5, 19)
    host.stop()
    host.join()
    assert host.state == "stopped"
