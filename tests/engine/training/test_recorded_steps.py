"""Steps as one CUDA graph, by a stand-in that repeats the operations of a step without our Python.

The reference are the same steps with each operation launched by the host.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_runs import MakeConfig, curve, lines, run, train
from tape import Tape

from lmm_tui.engine import cuda_graph, device
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.stages.pretrain import PretrainStage
from lmm_tui.engine.stages.sft import SftStage
from lmm_tui.engine.training.loop import Trainer
from lmm_tui.engine.training.recorded_steps import recorded_steps
from lmm_tui.engine.training.run_host import EngineHost
from lmm_tui.metrics.step import grad_norms

CURVES = ("train/loss", "train/lr", "train/grad_norm", "train/skipped", "val/loss")
real_loss = PretrainStage.loss


def refused(work: Callable[[], None]) -> Tape:
    raise RuntimeError("operation not permitted when stream is capturing")


class Card:
    """A CPU that says of itself what a GPU would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tapes: list[Tape] = []
        self._patch = monkeypatch
        monkeypatch.setattr(cuda_graph, "can_record", lambda device: True)
        monkeypatch.setattr(device, "is_asynchronous", lambda device: True)
        monkeypatch.setattr(grad_norms, "reading_is_free", lambda tensor: False)

    def records(self, there: bool) -> None:
        def recorded(work: Callable[[], None]) -> Tape:
            self.tapes.append(Tape(work))
            return self.tapes[-1]

        self._patch.setattr(cuda_graph, "recorded", recorded if there else refused)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    return Card(monkeypatch)


def both(card: Card, small: MakeConfig, **changes: Any) -> tuple[EngineHost, EngineHost]:
    """A run with its steps recorded, and one that launches their operations."""
    found = []
    for there in (True, False):
        card.records(there)
        found.append(run(small(name=f"graph-{there}", train__cuda_graphs="on", **changes)))
    return found[0], found[1]


def assert_same(one: EngineHost, other: EngineHost) -> None:
    assert (one.state, one.error) == (other.state, other.error) == ("finished", "")
    for name in CURVES:
        assert curve(one.run_dir, name) == curve(other.run_dir, name), name


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adamw": {},
    "muon": {"optim__name": "muon", "optim__muon_precision": "fp32"},
    "8bit": {"optim__state_dtype": "8bit", "model__hidden_size": 64},
}


@pytest.mark.parametrize("optimiser", OPTIMIZERS)
def test_replayed_steps_are_those_of_the_host_to_the_last_bit(
    card: Card, small: MakeConfig, optimiser: str
) -> None:
    """With a schedule, clipping, a probe at step 4 and validation at 5."""
    changes = {"optim__clip": 0.3, "train__steps": 7, **OPTIMIZERS[optimiser]}
    graph, host = both(card, small, **changes)
    assert_same(graph, host)
    # Two steps are made before, one is probed.
    assert [tape.replays for tape in card.tapes] == [7 - 2 - 1]
    assert min(curve(graph.run_dir, "train/grad_norm").values()) > 0.3
    if optimiser != "adamw":
        return
    off = train(small(name="off", **changes))
    for name in CURVES[:3]:
        # A rate is fp32 on the device.
        assert list(curve(graph.run_dir, name).values()) == pytest.approx(
            list(curve(off.run_dir, name).values()), rel=1e-4
        )


def test_settings_changed_live_and_a_step_without_a_number_act(
    card: Card, small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 6 is NaN by its data; a rollback puts other tensors in the place of the state."""
    bad_ids: list[torch.Tensor] = []
    real_step = Trainer._step

    def loss(stage: PretrainStage, model: Decoder, batch: MicroBatch) -> Any:
        total, sums = real_loss(stage, model, batch)
        if not bad_ids:
            bad_ids.append(stage.micro_batches(5)[0].ids_BxT)
        is_bad = (batch.ids_BxT == bad_ids[0]).all()
        return torch.where(is_bad, torch.nan, 1.0) * total, sums

    def step(trainer: Trainer, parts: Any) -> None:
        context = parts.context
        if context.step == 9:
            changes = {"optim.lr": 1e-3, "optim.clip": 0.2}
            context.change_settings(with_changes(context.config, changes))
        real_step(trainer, parts)

    monkeypatch.setattr(PretrainStage, "loss", loss)
    monkeypatch.setattr(Trainer, "_step", step)
    graph, host = both(
        card,
        small,
        train__steps=13,
        train__on_nonfinite="rollback",
        train__rollback_lr_factor=0.5,
        log__checkpoint_every=4,
        log__val_every=0,
        log__probe_every=0,
    )
    assert_same(graph, host)
    losses = curve(graph.run_dir)
    assert losses[6] == "NaN" and losses[13] < losses[1]
    rates = curve(graph.run_dir, "train/lr")
    assert rates[9] > 3 * rates[10] > 0
    # From the start (a step is read after the next one), after the rollback, with other settings.
    assert [tape.replays for tape in card.tapes] == [5, 1, 3]


def test_micro_batches_that_are_split_are_recorded_anew(
    card: Card, small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(trainer: Trainer, parts: Any, real: Any = Trainer._step) -> None:
        parts.context.parts = 2 if parts.context.step >= 4 else 1
        real(trainer, parts)

    monkeypatch.setattr(Trainer, "_step", step)
    graph, host = both(
        card, small, train__steps=7, log__val_every=0, log__probe_every=0, train__grad_accum=2
    )
    assert_same(graph, host)
    assert [tape.replays for tape in card.tapes] == [2, 2]


def test_a_resumed_run_has_the_losses_of_one_that_was_not_stopped(
    card: Card, small: MakeConfig
) -> None:
    card.records(True)
    same: dict[str, Any] = {"train__cuda_graphs": "on", "log__checkpoint_every": 4}
    same |= {"optim__schedule": "constant", "log__val_every": 0, "log__probe_every": 0}
    whole = train(small(name="whole", train__steps=8, **same))
    first = train(small(name="half", train__steps=4, **same))
    again = train(small(name="half", train__steps=8, **same), first.run_dir)
    assert curve(again.run_dir) == curve(whole.run_dir)


def test_what_cannot_be_recorded_is_said_once(card: Card, small: MakeConfig) -> None:
    card.records(False)
    host = train(small(train__steps=5, train__cuda_graphs="auto", log__val_every=0))
    alerts = [event for event in lines(host.run_dir.events) if event["kind"] == "alert"]
    assert [alert["message"] for alert in alerts] == [
        "train.cuda_graphs: a step cannot be recorded (operation not permitted when stream is "
        "capturing); its kernels are launched one by one"
    ]


def test_where_a_step_is_no_graph_on_is_refused_and_auto_says_why(
    small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = run(small(train__steps=1, train__cuda_graphs="on"))
    assert without.error == (
        "train.cuda_graphs: on, but a graph needs a CUDA GPU, this is cpu; set it to auto or off"
    )
    monkeypatch.setattr(cuda_graph, "can_record", lambda device: True)

    def context(wanted: str, said: list[str], config: dict[str, Any], parts: dict[str, Any]) -> Any:
        alone: dict[str, Any] = {
            "config": small(train__cuda_graphs=wanted, **config),
            "ranks": SimpleNamespace(is_alone=True),
            "stage": SimpleNamespace(recordable=True),
            "scaler": SimpleNamespace(is_enabled=lambda: False),
            "model": Decoder(ModelShape(8, 8, 1, 1, 1, 8, 8)),
            "events": SimpleNamespace(write=lambda kind, text, step: said.append(str(text))),
        }
        return SimpleNamespace(device=torch.device("cpu"), step=0, **alone | parts)

    cases: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("several ranks send", {}, {"ranks": SimpleNamespace(is_alone=False)}),
        ("steps of sft differ in shape", {"stage": "sft"}, {"stage": SftStage}),
        ("the loss scale of fp16", {}, {"scaler": SimpleNamespace(is_enabled=lambda: True)}),
        ("train.recompute reads", {"train__recompute": "layers"}, {}),
        ("models of transformers may ask", {}, {"model": torch.nn.Linear(1, 1)}),
        ("33 micro-batches a step are too", {"train__grad_accum": 33}, {}),
    ]
    for reason, config, parts in cases:
        said: list[str] = []
        with pytest.raises(ConfigError, match=reason):
            recorded_steps(context("on", said, config, parts))
        assert recorded_steps(context("auto", said, config, parts)) is None
        assert recorded_steps(context("off", said, config, parts)) is None
        assert len(said) == 1 and f"steps are not recorded: {reason}" in said[0]


def test_a_stage_with_a_loss_of_its_own_says_anew_that_it_can_be_recorded() -> None:
    class Same(PretrainStage):
        pass

    class Other(PretrainStage):
        loss = PretrainStage.loss

    assert Same.recordable and not Other.recordable
