"""What watching a run costs, against a bare training step, the row as JSON and numpy.

Trains `tiny` as the loop does. In each round a bare step that only clips takes turns with one that
is observed, one that is probed, and one part of the deep probes after the other, so that a busy
machine hits all alike; medians of one process are compared. The TensorBoard mirror works in a
thread of its own: its share is the processor time that rows cost with it and without. The health
rules are measured on a run of a million steps of 20 metrics, all at once and row by row.
"""

from __future__ import annotations

import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.measure import QUICK, medians, report, report_count, rounds, seconds
from lmm_tui.engine.config.model_shape import PRESETS
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.probe_config import ProbeConfig
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.loss import loss_sum
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.training.deep_probes import DeepProbes
from lmm_tui.engine.training.freed_memory import keep_freed_memory
from lmm_tui.engine.training.observer import Observer, StepTensors
from lmm_tui.engine.training.optim import build_optimizers
from lmm_tui.metrics import names
from lmm_tui.metrics.health.alerts import Health, examine
from lmm_tui.metrics.probes import ModelProbe
from lmm_tui.metrics.series.growing_array import Floats
from lmm_tui.metrics.series.rows import rows_of
from lmm_tui.metrics.series.series import SeriesStore
from lmm_tui.metrics.step.speed import SpeedMeter
from lmm_tui.metrics.tracker import TrainingTracker

TITLE = "observe: rows, probes, deep probes and health, against a bare step, JSON and numpy"

ROUNDS = 7
LIMIT_STEP, LIMIT_PROBE = 0.01, 0.03
"""Of a step; what a deep probe may add is stated in the help of its option."""
LIMIT_ROW, LIMIT_SCAN = 2.1, 12.0
"""Health rules: of the row as JSON; of numpy's mean and deviation of the columns."""
_MIRRORED_ROWS = 2000
_MAX_NORM = 1.0
_BASELINES = {"ln V": 6.93, "unigram": 5.5, "bigram": 3.1}


def run() -> None:
    keep_freed_memory()  # As every run does.
    with tempfile.TemporaryDirectory() as place:
        training = Training(Path(place))
        step_s = _observation(training, Path(place))
    _deep_probes(training, step_s)
    _health()


class Training:
    """Steps of `tiny` on random tokens, of the size that the configuration defaults to."""

    def __init__(self, folder: Path) -> None:
        config = RunConfig()
        shape = PRESETS["tiny"]
        size = (config.train.batch_size, config.data.seq_len)
        ids_BxT = torch.randint(shape.vocab_size, size, generator=torch.Generator().manual_seed(0))
        count = ids_BxT.numel()
        self.batch = MicroBatch(ids_BxT, ids_BxT.roll(-1, 1), weight=count, tokens=count)
        self.model = Decoder(shape)
        self.model.init_weights(0)
        self.optimizers = build_optimizers(self.model, config.optim, config.peak_lr)
        self.observer = Observer(
            self.model, TrainingTracker(folder), SpeedMeter(), compiled=False, steps_per_epoch=1000
        )
        self.step = 0
        self.times: dict[str, list[float]] = {}

    def bare_step(self) -> None:
        """The baseline: nothing is observed."""
        with self._timing("step"):
            self.forward_backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), _MAX_NORM)
            self._update()

    def observed_step(self) -> None:
        loss = self.forward_backward()
        with self._timing("clip and row"):
            self._observe(loss)
        self._update()

    def probed_step(self) -> None:
        with self.observer.probe_forward(self.batch, True):
            loss = self.forward_backward()
            start = time.perf_counter()
        self.observer.log_probe(self.step, 0)
        self.times.setdefault("probe", []).append(time.perf_counter() - start)
        self._observe(loss)
        self._update()

    def forward_backward(self) -> Tensor:
        hidden_BxTxD = self.batch.hidden(self.model)
        total = loss_sum(hidden_BxTxD, self.model.head_weight, self.batch.labels_BxT)
        loss = total / self.batch.tokens
        loss.backward()
        return loss.detach()

    def _observe(self, loss: Tensor) -> None:
        observer = self.observer
        norms = observer.grads.measure()
        observer.grads.clip(_MAX_NORM)
        self.step += 1
        tokens = self.batch.tokens
        observer.speed.step(tokens)
        numbers = StepTensors(
            step=self.step,
            tokens=self.step * tokens,
            lr=1e-3,
            loss=loss,
            norms=norms,
            max_norm=_MAX_NORM,
            stats={},
        )
        observer.record_step(numbers, numbers.read_later(), log_every=1)

    def _update(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    @contextmanager
    def _timing(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.times.setdefault(name, []).append(time.perf_counter() - start)


def _observation(training: Training, folder: Path) -> float:
    """Report what a row and a probe cost; returns the seconds of a bare step."""
    turns = (training.bare_step, training.observed_step, training.probed_step)
    for attempt in range(-1, rounds(ROUNDS)):
        for turn in turns:
            turn()
        if attempt < 0:
            training.times.clear()
    training.observer.close()
    took = {name: statistics.median(times) for name, times in training.times.items()}
    mirror_s = _row_s(folder / "b", True) - _row_s(folder / "a", False)
    for what, cost_s, limit in (
        ("norms, clip, row, TensorBoard mirror", took["clip and row"] + mirror_s, LIMIT_STEP),
        ("a probe", took["probe"] + _hooks_s(training), LIMIT_PROBE),
    ):
        report(what, 1e3 * cost_s, 1e3 * took["step"], "bare step", unit="ms", at_most=limit)
    return took["step"]


def _row_s(folder: Path, tensorboard: bool) -> float:
    """Processor seconds that a row of twenty scalars costs, in all threads."""
    norms = {f"layers.{layer}": 0.5 for layer in range(12)}
    start = time.process_time()
    with TrainingTracker(folder, tensorboard=tensorboard) as tracker:
        for _ in range(_MIRRORED_ROWS):
            tracker.update_loss(2.5)
            tracker.update_lr(1e-3)
            tracker.update_grad_norm(0.7, _MAX_NORM)
            tracker.update_layer_norms(norms)
            tracker.log()
    return (time.process_time() - start) / _MIRRORED_ROWS


def _hooks_s(training: Training) -> float:
    """Seconds in which hooks keep their sample of all layers, in a forward pass of identities."""
    shape = training.model.shape
    layers = nn.Sequential(*(nn.Identity() for _ in range(shape.num_layers)))
    hidden_BxTxD = torch.randn(*training.batch.ids_BxT.shape, shape.hidden_size)
    probe = ModelProbe()
    probe.attach(layers, [str(layer) for layer in range(shape.num_layers)])

    def watched_pass() -> None:
        probe.activate()
        layers(hidden_BxTxD)

    return statistics.median(seconds(watched_pass) for _ in range(20))


def _deep_probes(training: Training, step_s: float) -> None:
    """Report what each part adds, beside what the help of its option states."""
    watches = {
        part: DeepProbes(training.model, ProbeConfig(**{part: True}))
        for part in ProbeConfig.model_fields
    }
    none = DeepProbes(training.model, ProbeConfig())
    logits_NxV = torch.randn(512, training.model.shape.vocab_size)
    training.forward_backward()  # Parts that look at gradients find some.

    @torch.no_grad()
    def watched_pass(watch: DeepProbes) -> float:
        def one_pass() -> None:
            with watch.record_forward():
                training.batch.hidden(training.model)
            watch.collect()

        return seconds(one_pass)

    def update(watch: DeepProbes) -> None:
        with watch.record_update():
            pass
        watch.collect()

    def noise(watch: DeepProbes) -> None:
        watch.record_first_gradient(1)
        watch.record_gradient(torch.ones(()), 2)
        watch.collect()

    def calibration(watch: DeepProbes) -> None:
        watch.record_logits(logits_NxV)
        watch.collect()

    outside = {"updates": update, "noise": noise, "calibration": calibration}

    def cost(part: str) -> float:
        if part in outside:
            return seconds(lambda: outside[part](watches[part]))
        plain = watched_pass(none)
        return watched_pass(watches[part]) - plain

    added = medians({part: partial(cost, part) for part in watches}, 5)
    for part, added_s in added.items():
        report(f"deep probe {part}", 1e3 * added_s, 1e3 * step_s, "bare step", unit="ms",
               at_most=_stated(part))  # fmt: skip


def _stated(part: str) -> float:
    """The cost that the help of `probe.<part>` states."""
    found = re.search(r"(\d+) % of a step", ProbeConfig.model_fields[part].description or "")
    assert found is not None
    return int(found[1]) / 100


def _health() -> None:
    store = _healthy_store(100_000 if QUICK else 1_000_000)
    columns = [series.values for name in store.names() if (series := store.get(name))]
    alerts = 0

    def scan() -> None:
        nonlocal alerts
        health = Health(baselines=_BASELINES)
        examine(store, health)
        alerts = len(health.alerts)

    def numpy() -> None:
        for column in columns:
            assert np.isfinite([column.mean(), column.std()]).all()

    scans = {"ours": partial(seconds, scan), "numpy": partial(seconds, numpy)}
    ours, floor = medians(scans, 3).values()
    report(f"health rules, {len(store):,} rows", ours, floor, "numpy", at_most=LIMIT_SCAN)
    report_count("alerts of a healthy run", alerts, 0)

    rows = rows_of(_healthy_store(20_000))

    def observe() -> None:
        health = Health(baselines=_BASELINES)
        for step, row in rows:
            health.observe(step, row)

    def to_json() -> None:
        for _, row in rows:
            json.dumps(row)

    calls: dict[str, Callable[[], None]] = {"ours": observe, "json": to_json}
    taken = medians({name: partial(seconds, call) for name, call in calls.items()}, 5)
    ours, floor = (1e6 * took / len(rows) for took in taken.values())
    report("health rules, a row", ours, floor, "json.dumps", unit="µs", at_most=LIMIT_ROW)


def _healthy_store(steps: int) -> SeriesStore:
    """Twenty noisy series of a run that learns, among them twelve layers' gradients."""
    rng = np.random.default_rng(0)
    at = np.arange(1, steps + 1)

    def noise(scale: float) -> Floats:
        return rng.normal(0, scale, steps)

    columns = {
        names.TRAIN_LOSS: 2.2 + 4.73 * np.exp(-at / 150) + noise(0.05),
        names.TRAIN_LOSS_EMA: 2.2 + 4.73 * np.exp(-at / 150),
        names.LR: np.full(steps, 1e-3),
        names.GRAD_NORM: 1.5 * np.exp(noise(0.3)),
        names.CLIP_RATE: np.ones(steps),
        names.TOKENS_PER_S: 5000 + noise(200),
        names.STEPS_PER_S: 5 + noise(0.2),
    }
    columns |= {f"grad/layers.{layer}": 0.3 * np.exp(noise(0.3)) for layer in range(12)}
    store = SeriesStore()
    validated = np.arange(99, steps, 100)
    values = columns[names.TRAIN_LOSS][validated] + 0.1
    block = {name: (None, column) for name, column in columns.items()}
    store.extend(at, block | {names.VAL_LOSS: (validated, values)}, at.astype(np.float64) + 1e9)
    return store


if __name__ == "__main__":
    run()
