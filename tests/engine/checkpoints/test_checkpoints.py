"""Checkpoints: written beside the training, whole or not there, the last intact one found."""

import shutil
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_runs import MakeConfig, curve, lines

from lmm_tui.engine.checkpoints import checkpoint
from lmm_tui.engine.checkpoints.checkpoint import CheckpointState, Snapshot, load, save
from lmm_tui.engine.checkpoints.checkpoint_files import (
    CheckpointError,
    Retention,
    newest_intact,
    pin,
    read_state,
    verify,
)
from lmm_tui.engine.checkpoints.weights import read_weights
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.run.control_mailbox import Reply
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.training.run_host import EngineHost

LAST_TWO = Retention(last=2)


def snapshot(step: int, val_loss: float | None = None) -> Snapshot:
    state = CheckpointState(step, step * 8, "tokenizer", val_loss=val_loss)
    return Snapshot.take(state, {"w": torch.full((64,), float(step))}, {"rng": torch.arange(9)})


def steps(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in list_checkpoints(folder)]


def events(run: RunDir, kind: str) -> list[dict[str, object]]:
    return [event for event in lines(run.events) if event["kind"] == kind]


def end(host: EngineHost) -> Reply:
    reply = host.stop()
    assert host.join(60)
    return reply.result(60)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    for step in (1, 2):
        save(folder, snapshot(step), LAST_TWO)
    return folder


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_checkpoint_with_any_bit_flipped_or_its_end_cut_is_not_intact(
    two: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(two, folder)
    newest = list_checkpoints(folder)[-1]
    file = data.draw(st.sampled_from(sorted(newest.iterdir())))
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[at:]
    file.write_bytes(content)
    found, trouble = newest_intact(folder)
    assert found == list_checkpoints(folder)[0]
    assert "damaged checkpoint" in str(trouble[newest]) or "format" in str(trouble[newest])


def test_a_missing_file_is_damage(two: Path, tmp_path: Path) -> None:
    shutil.copytree(two / "step-000000002", tmp_path / "step-000000002")
    (tmp_path / "step-000000002" / "training.pt").unlink()
    with pytest.raises(CheckpointError, match=r"training\.pt: No such file"):
        verify(tmp_path / "step-000000002")
    verify(tmp_path / "step-000000002", without=["training.pt"])


def test_checkpoints_of_the_first_format_are_still_read(two: Path, tmp_path: Path) -> None:
    old = tmp_path / "step-000000002"
    shutil.copytree(two / old.name, old)
    (old / "state.json").write_text(
        '{"step": 2, "tokens": 16, "tokenizer": "tokenizer", "loss": null, "val_loss": null, '
        '"observer": {}, "format": 1}'
    )
    assert newest_intact(tmp_path) == (old, {})
    assert load(old, torch.device("cpu"))[0].tokens == 16


def test_the_last_the_best_every_so_many_and_the_pinned_stay(tmp_path: Path) -> None:
    losses = {10: 5.0, 20: 2.0, 30: 2.0, 40: float("nan"), 50: 3.0, 60: 4.0, 70: None}
    for step, loss in losses.items():
        path = save(tmp_path, snapshot(step, loss), Retention(last=1, best=2, every=25))
        if step == 10:
            pin(path)
    assert steps(tmp_path) == [10, 20, 30, 50, 70]


def test_what_a_killed_writer_left_is_no_checkpoint_and_is_removed(tmp_path: Path) -> None:
    for left in (".writing-step-000000009", ".removing-step-000000001"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "model.safetensors").write_bytes(b"half")
    assert newest_intact(tmp_path) == (None, {})
    save(tmp_path, snapshot(10), LAST_TWO)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000010"]


def test_a_snapshot_does_not_follow_the_training() -> None:
    weights, moments = torch.zeros(3), [torch.zeros(3)]
    taken = Snapshot.take(CheckpointState(1, 1, "x"), {"w": weights}, {"optimizers": [moments]})
    weights.fill_(1)
    moments[0].fill_(1)
    assert taken.model["w"].sum() == taken.training["optimizers"][0][0].sum() == 0


def test_training_goes_on_while_a_checkpoint_is_written(
    small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, may_end = threading.Event(), threading.Event()

    def slow_save(*args: object) -> Path:
        writing.set()
        assert may_end.wait(60)
        return save(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoint, "save", slow_save)
    host = EngineHost(small(train__steps=100_000, log__checkpoint_every=5, log__val_every=0))
    host.start()
    assert writing.wait(60)
    host.status.update(step=0)
    while host.status.status.step < 9:
        assert not host.join(0.005), host.error
    assert steps(host.run_dir.checkpoints) == []
    may_end.set()
    assert end(host).ok
    assert read_state(list_checkpoints(host.run_dir.checkpoints)[0])["step"] % 5 == 0


def test_a_damaged_checkpoint_is_skipped_set_aside_and_said_to_be(small: MakeConfig) -> None:
    whole = EngineHost(small(name="whole", train__steps=20))
    assert whole.run() == "finished"
    host = EngineHost(small(train__steps=20, log__checkpoint_every=4, log__keep=5))
    host.start()
    while not host.join(0.005) and not (host.run_dir.checkpoints / "step-000000012").exists():
        pass
    end(host)
    for damaged in list_checkpoints(host.run_dir.checkpoints):
        if int(damaged.name[-3:]) > 8:
            with (damaged / "training.pt").open("r+b") as file:
                file.seek(-40, 2)
                file.write(b"x")
    again = EngineHost(small(train__steps=20), resume=host.run_dir)
    assert again.run() == "finished", again.error
    assert curve(again.run_dir) == curve(whole.run_dir)
    assert again.run_dir.read_info().resumed_steps == [8]
    alerts = events(again.run_dir, "alert")
    assert len(alerts) >= 1 and all("damaged checkpoint" in str(it["message"]) for it in alerts)
    aside = [path.name for path in again.run_dir.checkpoints.glob("damaged-*")]
    assert "damaged-step-000000012" in aside


def test_weights_are_taken_from_the_last_intact_checkpoint(small: MakeConfig) -> None:
    host = EngineHost(small(log__checkpoint_every=6))
    assert host.run() == "finished"
    before, newest = list_checkpoints(host.run_dir.checkpoints)[-2:]
    (newest / "model.safetensors").write_bytes(b"nothing")
    assert read_weights(host.run_dir.path).origin == before
    with pytest.raises(CheckpointError, match="model.safetensors is not what was written"):
        read_weights(newest)


def test_a_finished_run_whose_last_checkpoint_is_damaged_goes_on(small: MakeConfig) -> None:
    host = EngineHost(small(log__checkpoint_every=6))
    assert host.run() == "finished"
    losses = curve(host.run_dir)
    (list_checkpoints(host.run_dir.checkpoints)[-1] / "training.pt").write_bytes(b"")
    again = EngineHost(small(), resume=host.run_dir)
    assert again.run() == "finished"
    assert again.run_dir.read_info().resumed_steps == [6]
    assert curve(again.run_dir) == losses


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_ones_and_one_alert(
    small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    host = EngineHost(small(train__steps=100_000, log__checkpoint_every=2, log__val_every=0))
    host.start()
    while not list_checkpoints(host.run_dir.checkpoints):
        assert not host.join(0.005), host.error
    monkeypatch.setattr(torch, "save", full)
    refused = host.mailbox.send("checkpoint").result(60)
    assert not refused.ok and "No space left on device" in refused.message
    step = host.status.status.step
    while host.status.status.step < step + 6:
        assert not host.join(0.005), host.error
    kept = steps(host.run_dir.checkpoints)
    assert kept
    for path in list_checkpoints(host.run_dir.checkpoints):
        verify(path)
    assert end(host) == Reply(
        False, "stopped, but the checkpoint could not be written", host.status.status.step
    )
    assert steps(host.run_dir.checkpoints) == kept
    alerts = events(host.run_dir, "alert")
    assert len(alerts) == 1 and "those before it are intact" in str(alerts[0]["message"])


def test_a_pinned_checkpoint_stays(small: MakeConfig) -> None:
    host = EngineHost(small(train__steps=100_000, log__checkpoint_every=2, log__keep=1))
    host.start()
    while host.status.status.step < 1:
        assert not host.join(0.005), host.error
    pinned = host.mailbox.send("checkpoint", {"pin": True}).result(60)
    assert pinned.ok and "pinned" in pinned.message
    while host.status.status.step < pinned.step + 8:
        assert not host.join(0.005), host.error
    end(host)
    assert pinned.step in steps(host.run_dir.checkpoints)
