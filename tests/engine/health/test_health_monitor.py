"""Health during training: each alert is one event with a likely cause, and triggers its actions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from small_runs import MakeConfig, lines, run

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.health.health_monitor import HealthMonitor
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.run.events import EventLog
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.stages.pretrain import PretrainStage
from lmm_tui.engine.training.run_host import EngineHost

real_loss = PretrainStage.loss
real_batches = PretrainStage.micro_batches
Loss = tuple[torch.Tensor, dict[str, torch.Tensor]]


@pytest.fixture
def noise_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Corrupts the labels of a step (1-based), so that its loss is far higher."""

    def arrange(step: int) -> None:
        def batches(stage: PretrainStage, at: int) -> list[MicroBatch]:
            found = real_batches(stage, at)
            if at + 1 == step:
                found[0].labels_BxT.fill_(0)
            return found

        def loss(stage: PretrainStage, model: Decoder, batch: MicroBatch) -> Loss:
            total, sums = real_loss(stage, model, batch)
            return total * (3 if not batch.labels_BxT.any() else 1), sums

        monkeypatch.setattr(PretrainStage, "micro_batches", batches)
        monkeypatch.setattr(PretrainStage, "loss", loss)

    return arrange


def alerts(run_dir: RunDir, rule: str | None = None) -> list[dict[str, Any]]:
    """Alert events, of one rule; without `rule`, all but `slow`, which depends on the machine."""
    found = [event for event in lines(run_dir.events) if event.get("suspect")]
    return [it for it in found if (it["rule"] == rule if rule else it["rule"] != "slow")]


def test_a_corrupt_batch_raises_its_alert_at_its_step_once(
    small: MakeConfig, noise_at: Callable[[int], None]
) -> None:
    noise_at(44)
    host = run(small(train__steps=60, log__val_every=0, log__probe_every=0))
    assert host.state == "finished"
    [alert] = alerts(host.run_dir, "loss_spike")
    assert (alert["step"], alert["kind"], alert["level"]) == (44, "alert", "warning")
    assert alert["suspect"] == "a bad batch" and alert["advice"] and alert["values"]["mean"] > 3


@pytest.mark.parametrize("seed", range(2))
def test_healthy_runs_raise_none(small: MakeConfig, seed: int) -> None:
    host = run(small(train__steps=80, train__seed=seed, log__val_every=20))
    assert host.state == "finished" and alerts(host.run_dir) == []


def test_actions_are_carried_out_and_recorded(
    small: MakeConfig, noise_at: Callable[[int], None]
) -> None:
    noise_at(44)
    config = small(
        train__steps=60,
        log__val_every=0,
        log__probe_every=0,
        log__checkpoint_every=30,
        health__rollback=["loss_spike"],
        health__checkpoint=["loss_spike"],
        health__pause=["loss_spike"],
    )
    host = EngineHost(config)
    host.start()
    until_paused(host)
    assert [
        event["message"]
        for event in lines(host.run_dir.events)
        if event["step"] == 44 and event["kind"] == "alert" and "suspect" not in event
    ] == [
        "loss_spike: restored step-000000030, learning rate x 1",
        "loss_spike: a checkpoint is written",
        "loss_spike: paused; inspect it, then resume",
    ]
    host.mailbox.send("stop").result(120)
    assert host.join(120) and host.state == "stopped"
    assert (host.run_dir.checkpoints / "step-000000044").is_dir()


def test_a_rollback_passes_over_checkpoints_that_were_written_while_the_loss_was_bad(
    small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(stage: PretrainStage, model: Decoder, batch: MicroBatch) -> Loss:
        total, sums = real_loss(stage, model, batch)
        return (total * 9 if any(batch is it for it in bad) else total), sums

    def batches(stage: PretrainStage, at: int) -> list[MicroBatch]:
        found = real_batches(stage, at)
        bad.extend(found if at + 1 >= 24 else [])
        return found

    bad: list[MicroBatch] = []
    monkeypatch.setattr(PretrainStage, "micro_batches", batches)
    monkeypatch.setattr(PretrainStage, "loss", loss)
    host = run(
        small(
            train__steps=44,
            log__val_every=0,
            log__probe_every=0,
            log__checkpoint_every=5,
            log__keep=20,
            health__rollback=["diverged"],
        )
    )
    assert host.state == "finished", host.error
    (alert,) = alerts(host.run_dir, "diverged")
    assert alert["values"]["since"] == 24 and alert["step"] > 35
    told = [it["message"] for it in lines(host.run_dir.events) if it["kind"] == "alert"]
    assert "diverged: restored step-000000020, learning rate x 1" in told


def until_paused(host: EngineHost) -> None:
    """Wait for the pause, which is the last of the actions."""
    waiting = EngineHost.join
    while host.run_dir.read_status().state != "paused":
        assert not waiting(host, 0.02), host.error


def test_a_resumed_run_repeats_no_alert(small: MakeConfig, noise_at: Callable[[int], None]) -> None:
    noise_at(44)
    first = run(small(train__steps=50, log__val_every=0, log__probe_every=0))
    resumed = run(small(train__steps=64, log__val_every=0, log__probe_every=0), first.run_dir)
    assert resumed.state == "finished"
    assert [alert["step"] for alert in alerts(resumed.run_dir, "loss_spike")] == [44]


def test_rules_can_be_disabled_and_tuned(
    small: MakeConfig, noise_at: Callable[[int], None], tmp_path: Path
) -> None:
    noise_at(44)
    off = run(small(train__steps=46, health__enable=False, name="off"))
    assert alerts(off.run_dir) == []
    rules = tmp_path / "rules.toml"
    rules.write_text("[rules.loss_spike]\nenabled = false\n")
    tuned = run(
        small(
            name="tuned",
            train__steps=46,
            health__rules=str(rules),
            health__thresholds=["train/lr > 1e-9"],
        )
    )
    assert {alert["rule"] for alert in alerts(tuned.run_dir)} == {"train/lr > 1e-9"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"health__pause": ["loss_spik"]}, "health.pause: no rule is called 'loss_spik'"),
        ({"health__pause": ["non_finite"]}, "train.on_nonfinite"),
        ({"health__thresholds": ["lr is high"]}, "lr is high: is no threshold"),
        ({"health__rules": "/none.toml"}, "/none.toml"),
    ],
)
def test_an_invalid_section_is_refused_in_one_sentence(
    small: MakeConfig, changes: dict[str, Any], said: str
) -> None:
    host = run(small(**changes))
    assert (host.state, host.refused) == ("failed", True)
    assert said in host.error and "\n" not in host.error


class Receiver(HTTPServer):
    """Records the bodies of POST requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[bytes] = []


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.got.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def monitor_of(config: RunConfig, folder: Path) -> tuple[HealthMonitor, RunDir]:
    run_dir = RunDir(folder)
    events = EventLog(run_dir)
    return HealthMonitor(config.health, events, own_loop=False, from_scratch=True), run_dir


def observe_spike(monitor: HealthMonitor, at: int = 0) -> None:
    for step in range(at, at + 70):
        monitor.observe(step, {"train/loss": 2.0})
    monitor.observe(at + 70, {"train/loss": 9.0})


def test_alerts_go_to_a_webhook_and_a_command(small: MakeConfig, tmp_path: Path) -> None:
    receiver = Receiver()
    Thread(target=receiver.serve_forever, daemon=True).start()
    config = small(
        health__webhook=f"http://127.0.0.1:{receiver.server_port}/x",
        health__command=f"cat > {tmp_path}/got",
    )
    monitor, _ = monitor_of(config, tmp_path)
    observe_spike(monitor)
    monitor.close()
    receiver.shutdown()
    receiver.server_close()
    for text in (*receiver.got, (tmp_path / "got").read_bytes()):
        assert json.loads(text)["rule"] == "loss_spike"
    assert len(receiver.got) == 1


def test_a_failed_notification_is_one_event(small: MakeConfig, tmp_path: Path) -> None:
    config = small(health__webhook="http://127.0.0.1:1/", health__command="exit 7")
    monitor, run_dir = monitor_of(config, tmp_path)
    observe_spike(monitor)
    observe_spike(monitor, 100)
    monitor.close()
    failures = [it["message"] for it in lines(run_dir.events) if "suspect" not in it]
    assert len(failures) == 2
    assert any(text.startswith("health.webhook: ") for text in failures)
    assert any("health.command: ended with 7" in text for text in failures)


def test_a_non_finite_step_is_one_alert_with_its_likely_cause(
    small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(stage: PretrainStage, model: Decoder, batch: MicroBatch) -> Loss:
        total, sums = real_loss(stage, model, batch)
        return total * math.nan, sums

    monkeypatch.setattr(PretrainStage, "loss", loss)
    host = run(small(train__steps=4, log__val_every=0, log__probe_every=0))
    [alert] = alerts(host.run_dir)
    assert alert["rule"] == "non_finite" and "LR" in alert["suspect"]
