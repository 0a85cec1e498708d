"""A step that stands out leaves its batch behind, and a run can go back and on past it."""

import json
import math
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from faults import Refusals
from hypothesis import given
from hypothesis import strategies as st
from small_runs import MakeConfig, curve, lines

from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.spike_files import (
    MOST_KEPT,
    KeptSpike,
    SpikeError,
    SpikeText,
    list_spikes,
    read_spike,
    spike_path,
    write_spike,
)
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.stages.pretrain import PretrainStage
from lmm_tui.engine.training.run_host import EngineHost

real_loss = PretrainStage.loss
real_batches = PretrainStage.micro_batches
Loss = tuple[torch.Tensor, dict[str, torch.Tensor]]
CORRUPT = "%%%%"
REFUSALS = Refusals()


@pytest.fixture
def corrupt_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes one row of a step (1-based) nonsense with labels by chance, and the step harmful."""

    def arrange(step: int) -> None:
        spoilt: list[int] = []

        def batches(stage: PretrainStage, at: int) -> list[MicroBatch]:
            found = real_batches(stage, at)
            if at + 1 == step:
                token = stage.tokenizer.encode("%")[0]
                found[0].ids_BxT[2] = token
                found[0].labels_BxT[2] = torch.arange(found[0].labels_BxT.shape[1]) + 200
                spoilt[:] = found[0].ids_BxT[2].tolist()
            return found

        def loss(stage: PretrainStage, model: Decoder, batch: MicroBatch) -> Loss:
            total, sums = real_loss(stage, model, batch)
            harm = batch.ids_BxT[2].tolist() == spoilt and torch.is_grad_enabled()
            return total * (4 if harm else 1), sums

        monkeypatch.setattr(PretrainStage, "micro_batches", batches)
        monkeypatch.setattr(PretrainStage, "loss", loss)

    return arrange


def text(loss: float = 1.0) -> SpikeText:
    return SpikeText(0, 0, loss, "a cat", [5, 6], ["a", " cat"], [None, loss])


def test_a_corrupt_batch_is_kept_with_its_text_and_losses(
    small: MakeConfig, corrupt_at: Callable[[int], None]
) -> None:
    corrupt_at(44)
    host = EngineHost(small(train__steps=50, log__val_every=0, log__probe_every=0))
    host.run()
    assert host.state == "finished"
    assert list_spikes(host.run_dir.spikes) == [44]
    spike = read_spike(host.run_dir.spikes, 44)
    worst = spike.sequences[0]
    assert spike.rule in ("loss_spike", "grad_spike") and len(spike.sequences) == 4
    assert CORRUPT in worst.text and (worst.micro_batch, worst.row) == (0, 2)
    assert worst.loss == max(one.loss for one in spike.sequences)
    assert len(worst.ids) == len(worst.tokens) == len(worst.losses) == 32
    assert worst.losses[0] is None and all(loss > 0 for loss in worst.losses[1:] if loss)
    told = [event for event in lines(host.run_dir.events) if event["kind"] == "spike"]
    assert [event["step"] for event in told] == [44]


def test_keeping_a_batch_changes_no_later_step(
    small: MakeConfig, corrupt_at: Callable[[int], None]
) -> None:
    corrupt_at(44)
    options = {"train__steps": 50, "log__val_every": 0, "log__probe_every": 0}
    kept = EngineHost(small(name="kept", **options))
    kept.run()
    none = EngineHost(small(name="none", health__enable=False, **options))
    none.run()
    assert list_spikes(kept.run_dir.spikes) and not none.run_dir.spikes.exists()
    assert curve(kept.run_dir) == curve(none.run_dir)


def test_a_step_that_is_no_number_is_kept(
    small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def loss(stage: PretrainStage, model: Decoder, batch: MicroBatch) -> Loss:
        calls.append(1)
        total, sums = real_loss(stage, model, batch)
        return (total * math.nan if len(calls) == 3 else total), sums

    monkeypatch.setattr(PretrainStage, "loss", loss)
    host = EngineHost(small(train__steps=5, log__val_every=0, log__probe_every=0))
    host.run()
    assert list_spikes(host.run_dir.spikes) == [3]
    assert read_spike(host.run_dir.spikes, 3).rule == "non_finite"


def test_going_back_brings_the_weights_from_before_and_goes_on_past_the_batch(
    small: MakeConfig, corrupt_at: Callable[[int], None]
) -> None:
    corrupt_at(44)
    config = small(
        train__steps=400, log__val_every=0, log__probe_every=0, log__checkpoint_every=20,
        log__keep=9, health__pause=["loss_spike", "grad_spike"], optim__schedule="constant",
    )  # fmt: skip
    host = EngineHost(config)
    thread = threading.Thread(target=host.run)
    thread.start()
    paused = threading.Event()
    while not paused.is_set() and thread.is_alive():
        if host.status.status.state == "paused":
            paused.set()
        paused.wait(0.02)
    refused = host.mailbox.send("rollback", {"before": 3}).result(120)
    assert not refused.ok and "no intact checkpoint from before step 3" in refused.message
    wrong = host.mailbox.send("rollback", {"until": 3}).result(120)
    assert not wrong.ok and "it takes before" in wrong.message
    reply = host.mailbox.send("rollback", {"before": 44}).result(120)
    assert reply.ok and "step-000000040" in reply.message, reply.message
    host.mailbox.send("resume").result(120)
    host.mailbox.send("set", {"log_every": 1}).result(120)
    reached = threading.Event()
    while host.status.status.step < 60 and thread.is_alive():
        reached.wait(0.02)
    host.mailbox.send("stop").result(120)
    thread.join(120)
    losses = curve(host.run_dir)
    assert sorted(losses) == list(range(1, max(losses) + 1))
    after = [losses[step] for step in range(45, 60)]
    assert all(math.isfinite(loss) for loss in after)
    assert max(after) < losses[44] and sum(after) / 15 < losses[40] + 0.3


def test_a_full_disk_is_one_alert_and_stops_nothing(
    small: MakeConfig, corrupt_at: Callable[[int], None]
) -> None:
    corrupt_at(44)
    REFUSALS.begin("/spikes", 28)
    try:
        host = EngineHost(small(train__steps=50, log__val_every=0, log__probe_every=0))
        host.run()
    finally:
        REFUSALS.end()
    assert host.state == "finished"
    told = [event["message"] for event in lines(host.run_dir.events) if event["kind"] == "alert"]
    assert [text for text in told if "could not be kept (No space left on device)" in text]
    assert not list(host.run_dir.path.glob("spikes/*"))


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for step in range(1, MOST_KEPT + 4):
        write_spike(tmp_path, KeptSpike(step, 0.0, "loss_spike", "rose", [text()]))
    assert list_spikes(tmp_path) == list(range(4, MOST_KEPT + 4))


def test_values_that_are_no_numbers_come_back(tmp_path: Path) -> None:
    write_spike(tmp_path, KeptSpike(1, 0.0, "non_finite", "NaN", [text(math.nan)]))
    found = read_spike(tmp_path, 1).sequences[0]
    assert math.isnan(found.loss) and found.losses[0] is None and math.isnan(found.losses[1] or 0)


@given(st.binary(max_size=60) | st.just(b'{"step": 1, "sequences": [{}]}'))
def test_a_broken_file_is_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "broken"
    folder.mkdir(exist_ok=True)
    spike_path(folder, 1).write_bytes(raw)
    with pytest.raises(SpikeError, match="cannot be read as a spike") as refusal:
        read_spike(folder, 1)
    assert "\n" not in str(refusal.value) or b"\n" in raw


def test_a_step_without_a_spike_names_those_there_are(tmp_path: Path) -> None:
    write_spike(tmp_path, KeptSpike(7, 0.0, "loss_spike", "rose", [text()]))
    with pytest.raises(SpikeError, match="no spike was kept at step 8; there are 7"):
        read_spike(tmp_path, 8)


def test_a_file_is_plain_json(tmp_path: Path) -> None:
    path = write_spike(tmp_path, KeptSpike(7, 0.0, "loss_spike", "rose", [text()]))
    assert json.loads(path.read_text())["sequences"][0]["tokens"] == ["a", " cat"]
    assert [*tmp_path.iterdir()] == [path] and path.name == "step-7.json"
    assert RunDir(tmp_path.parent).spikes.name == "spikes"
