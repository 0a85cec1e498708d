"""Steps that must not spoil a run: losses that are no numbers, and too little memory."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_runs import MakeConfig, curve, lines

from lmm_tui.engine import device
from lmm_tui.engine.checkpoints.checkpoint import load
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.stages.pretrain import PretrainStage
from lmm_tui.engine.training.mps_adamw import SkippableAdamW
from lmm_tui.engine.training.muon import StackedMuon
from lmm_tui.engine.training.non_finite import step_unless
from lmm_tui.engine.training.run_host import EngineHost

real_loss = PretrainStage.loss
Loss = tuple[torch.Tensor, dict[str, torch.Tensor]]


@pytest.fixture
def bad_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the loss of these steps (1-based) NaN, by their data, so that a resume sees it too."""

    def arrange(*steps: int) -> None:
        first: dict[int, list[int]] = {}
        real_batches = PretrainStage.micro_batches

        def batches(stage: PretrainStage, step: int) -> list[MicroBatch]:
            found = real_batches(stage, step)
            if step + 1 in steps:
                first[step] = found[0].ids_BxT[0].tolist()
            return found

        def loss(stage: PretrainStage, model: Decoder, batch: MicroBatch) -> Loss:
            total, sums = real_loss(stage, model, batch)
            spoilt = batch.ids_BxT[0].tolist() in first.values()
            return (total * float("nan") if spoilt else total), sums

        monkeypatch.setattr(PretrainStage, "micro_batches", batches)
        monkeypatch.setattr(PretrainStage, "loss", loss)

    return arrange


def run(config: Any, resume: Any = None) -> EngineHost:
    host = EngineHost(config, resume)
    host.run()
    return host


def alerts(host: EngineHost) -> list[str]:
    return [event["message"] for event in lines(host.run_dir.events) if event["kind"] == "alert"]


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_bad_step_changes_nothing_is_counted_and_named_once(
    small: MakeConfig, bad_at: Callable[..., None], optimiser: str
) -> None:
    bad_at(4, 5, 9)
    host = run(
        small(optim__name=optimiser, log__checkpoint_every=1, log__keep=20, log__val_every=0)
    )
    assert host.state == "finished"
    losses = curve(host.run_dir)
    assert [step for step, loss in losses.items() if loss == "NaN"] == [4, 5, 9]
    assert curve(host.run_dir, "train/skipped") == {4: 1, 5: 2, 9: 3}
    assert len(alerts(host)) == 2 and all("step skipped" in text for text in alerts(host))
    weights = {
        int(path.name[-3:]): load(path, torch.device("cpu"))[1]["model.embed_tokens.weight"]
        for path in list_checkpoints(host.run_dir.checkpoints)
    }
    assert torch.equal(weights[3], weights[4]) and torch.equal(weights[4], weights[5])
    assert not torch.equal(weights[5], weights[6])


def test_a_run_with_bad_steps_resumes_to_the_last_bit(
    small: MakeConfig, bad_at: Callable[..., None]
) -> None:
    bad_at(4, 9)
    for policy in ("skip", "rollback"):
        chosen = {
            "train__on_nonfinite": policy,
            "train__rollback_lr_factor": 0.5,
            "log__checkpoint_every": 3,
            "optim__schedule": "constant",
        }
        whole = run(small(name=f"whole-{policy}", **chosen))
        half = run(small(name=f"half-{policy}", train__steps=6, **chosen))
        again = run(small(name=f"half-{policy}", **chosen), half.run_dir)
        assert again.state == "finished"
        for name in ("train/loss", "train/lr", "train/skipped"):
            assert curve(again.run_dir, name) == curve(whole.run_dir, name)


def test_rollback_takes_the_last_checkpoint_and_the_next_data(
    small: MakeConfig, bad_at: Callable[..., None]
) -> None:
    bad_at(6)
    chosen = {"log__val_every": 0, "log__probe_every": 0, "optim__schedule": "constant"}
    skipped = run(small(name="skipped", log__checkpoint_every=4, **chosen))
    host = run(
        small(
            log__checkpoint_every=4,
            train__on_nonfinite="rollback",
            train__rollback_lr_factor=0.5,
            **chosen,
        )
    )
    assert host.state == "finished"
    [alert] = alerts(host)
    assert "restored step-000000004, learning rate x 0.5" in alert
    assert sorted(curve(host.run_dir)) == list(range(1, 13))
    rates = curve(host.run_dir, "train/lr")
    assert rates[7] == rates[6] / 2 == rates[12]
    # The same data as where nothing was rolled back, seen by older weights.
    assert curve(host.run_dir)[7] != curve(skipped.run_dir)[7]
    assert curve(host.run_dir)[7] == pytest.approx(curve(skipped.run_dir)[7], rel=0.05)


def test_pause_waits_for_a_person(small: MakeConfig, bad_at: Callable[..., None]) -> None:
    bad_at(5)
    host = EngineHost(small(train__on_nonfinite="pause"))
    host.start()
    while host.status.status.state != "paused":
        assert not host.join(0.005), host.error
    assert host.mailbox.send("set", {"lr": 1e-5}).result(60).step == 5
    assert host.mailbox.send("resume").result(60).ok
    assert host.join(60)
    assert host.state == "finished"
    [alert] = alerts(host)
    assert "paused" in alert


def test_stop_ends_with_a_checkpoint_and_says_how_to_go_on(
    small: MakeConfig, bad_at: Callable[..., None]
) -> None:
    bad_at(5)
    host = run(small(train__on_nonfinite="stop"))
    assert host.state == "failed" and host.refused
    assert "step 5" in host.error and "train.on_nonfinite skip" in host.error
    assert list_checkpoints(host.run_dir.checkpoints)[-1].name == "step-000000005"
    again = run(small(train__on_nonfinite="skip"), host.run_dir)
    assert again.state == "finished"
    assert all(math.isfinite(curve(again.run_dir)[step]) for step in range(6, 13))


OPTIMIZERS = {
    "fused AdamW": lambda weights: torch.optim.AdamW(weights, lr=0.1, fused=True),
    "AdamW of MPS": lambda weights: SkippableAdamW(weights, lr=0.1),
    "Muon": lambda weights: StackedMuon(weights, lr=0.1),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_step_that_the_device_skips_equals_one_never_made(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: the host does not know that the gradient is not finite, nor waits for it."""
    monkeypatch.setattr(device, "is_asynchronous", lambda device: True)

    def train(gradients: list[float]) -> list[torch.Tensor]:
        weights = [torch.nn.Parameter(torch.eye(3) + n) for n in range(2)]
        optimizer = OPTIMIZERS[kind](weights)
        for gradient in gradients:
            for weight in weights:
                weight.grad = torch.full((3, 3), gradient)
            step_unless(~torch.isfinite(weights[0].grad.norm()), optimizer)
        return [*weights, *(optimizer.state[weights[0]].values())]

    nan = float("nan")
    found, wanted = train([nan, 1.0, nan, nan, 2.0, nan]), train([1.0, 2.0])
    assert all(map(torch.equal, found, wanted))


def test_an_overflow_under_one_of_two_optimisers_skips_both(
    small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fp16's GradScaler, which a CPU has as well, with Muon's gradients infinite in step 3."""
    scalers: list[torch.amp.GradScaler] = []

    def make_scaler(*_: Any) -> torch.amp.GradScaler:
        scalers.append(torch.amp.GradScaler("cpu", init_scale=2.0**8))
        return scalers[0]

    hooks: list[Any] = []
    calls: list[str] = []

    def loss(stage: PretrainStage, model: Decoder, batch: MicroBatch) -> Loss:
        calls.append("loss")
        while hooks:
            hooks.pop().remove()
        if len(calls) == 3:
            weight = next(p for n, p in model.named_parameters() if n.endswith("up_proj.weight"))
            hooks.append(weight.register_hook(lambda gradient: gradient * float("inf")))
        return real_loss(stage, model, batch)

    monkeypatch.setattr(device, "make_scaler", make_scaler)
    monkeypatch.setattr(PretrainStage, "loss", loss)
    config = small(optim__name="muon", train__steps=4, log__checkpoint_every=1, log__keep=9)
    host = run(config.model_copy(update={"log": config.log.model_copy(update={"val_every": 0})}))
    assert host.state == "finished"
    paths = list_checkpoints(host.run_dir.checkpoints)
    states = [load(path, torch.device("cpu"))[1] for path in paths]
    for name in states[0]:
        assert torch.equal(states[1][name], states[2][name]), name
    assert not any(torch.equal(states[2][name], states[3][name]) for name in states[0])
    assert scalers[0].get_scale() == 2.0**7


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_a_bad_step_is_left_out_without_a_wait() -> None:
    weight = torch.nn.Parameter(torch.eye(3, device="cuda"))
    optimizer = torch.optim.AdamW([weight], lr=0.1, fused=True)
    weight.grad = torch.full((3, 3), float("nan"), device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        step_unless(~torch.isfinite(weight.grad.norm()), optimizer)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(weight, torch.eye(3, device="cuda"))


def without_memory(monkeypatch: pytest.MonkeyPatch, most_rows: int) -> None:
    def loss(stage: PretrainStage, model: Decoder, batch: MicroBatch) -> Loss:
        if torch.is_grad_enabled() and batch.ids_BxT.shape[0] > most_rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real_loss(stage, model, batch)

    monkeypatch.setattr(PretrainStage, "loss", loss)


def test_out_of_memory_cuts_micro_batches_and_trains_on_the_same_data(
    small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    enough = run(small(name="enough", train__grad_accum=2))
    without_memory(monkeypatch, most_rows=1)
    host = run(small(train__grad_accum=2, log__checkpoint_every=6))
    assert host.state == "finished", host.error
    for step, loss in curve(enough.run_dir).items():
        assert curve(host.run_dir)[step] == pytest.approx(loss, rel=1e-4)
    assert curve(host.run_dir, "train/loss").keys() == set(range(1, 13))
    told = alerts(host)
    assert ["cut in 2" in told[0], "cut in 4" in told[1], len(told)] == [True, True, 2]
    again = run(small(train__grad_accum=2, train__steps=14), host.run_dir)
    assert again.state == "finished" and len(alerts(again)) == 2


def test_less_memory_than_one_row_stops_and_says_what_would_fit(
    small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_memory(monkeypatch, most_rows=0)
    host = run(small())
    assert host.state == "failed" and host.refused
    assert "not even one sequence of 32 tokens fits into the memory of cpu" in host.error
    assert "data.seq_len 16" in host.error
