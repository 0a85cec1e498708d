"""What watching a run costs beside the step that is watched: every step, and when it is probed.

Trains `tiny` as the loop does. In each round a step that only clips takes turns with one that is
observed and one that is probed too, so that a busy machine hits all alike; what is compared are
medians of one process. The TensorBoard mirror works in a thread of its own: its share is the
processor time that rows cost with it and without.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from lmm_tui.engine.config.model_shape import PRESETS
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.loss import loss_sum
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.training.freed_memory import keep_freed_memory
from lmm_tui.engine.training.observer import Observer, StepTensors
from lmm_tui.engine.training.optim import build_optimizers
from lmm_tui.metrics.probes import ModelProbe
from lmm_tui.metrics.step.speed import SpeedMeter
from lmm_tui.metrics.tracker import TrainingTracker

TITLE = "observation: cost of a row and of a probe beside a step of `tiny`"

ROUNDS = 7
LIMIT_STEP, LIMIT_PROBE = 0.01, 0.03
_MIRRORED_ROWS = 2000
_MAX_NORM = 1.0


class Stopwatch:
    """Seconds by name, a list of them each."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.times.setdefault(name, []).append(time.perf_counter() - start)

    def median(self, name: str) -> float:
        return statistics.median(self.times[name])


class Training:
    """Steps of `tiny` on random tokens, of the size that the configuration defaults to."""

    def __init__(self, folder: Path, watch: Stopwatch) -> None:
        config = RunConfig()
        shape = PRESETS["tiny"]
        size = (config.train.batch_size, config.data.seq_len)
        ids_BxT = torch.randint(shape.vocab_size, size, generator=torch.Generator().manual_seed(0))
        self.batch = MicroBatch(
            ids_BxT, ids_BxT.roll(-1, 1), weight=ids_BxT.numel(), tokens=ids_BxT.numel()
        )
        self.model = Decoder(shape)
        self.model.init_weights(0)
        self.optimizers = build_optimizers(self.model, config.optim, config.peak_lr)
        tracker = TrainingTracker(folder)
        self.observer = Observer(
            self.model, tracker, SpeedMeter(), compiled=False, steps_per_epoch=1000
        )
        self.step = 0
        self._watch = watch

    def clipped_step(self) -> None:
        """The peer: a step with nothing to see of it."""
        with self._watch.timing("step"):
            self._forward_backward()
        with self._watch.timing("clip"):
            nn.utils.clip_grad_norm_(self.model.parameters(), _MAX_NORM)
        self._update()

    def observed_step(self) -> None:
        loss = self._forward_backward()
        with self._watch.timing("observe"):
            self._observe(loss)
        self._update()

    def probed_step(self) -> None:
        with self.observer.watching(self.batch, True):
            loss = self._forward_backward()
            start = time.perf_counter()
        self.observer.finish_probe(self.step, 0)
        self._watch.times.setdefault("probe", []).append(time.perf_counter() - start)
        self._observe(loss)
        self._update()

    def _forward_backward(self) -> Tensor:
        hidden_BxTxD = self.model.backbone(self.batch.ids_BxT)
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
        observer.record(numbers, log_every=1)

    def _update(self) -> None:
        with self._watch.timing("update"):
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)


def run() -> None:
    keep_freed_memory()  # As every run does.
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        training = Training(Path(folder), watch)
        turns = (training.clipped_step, training.observed_step, training.probed_step)
        for turn in turns:
            turn()
        watch.times.clear()
        for _ in range(ROUNDS):
            for turn in turns:
                turn()
        training.observer.close()
        mirror_s = _processor_s(Path(folder) / "b", True) - _processor_s(Path(folder) / "a", False)
    step_s = watch.median("step") + watch.median("clip") + watch.median("update")
    row_s, hooks_s = watch.median("observe"), _hooks_s(training)
    every_step = (row_s + mirror_s) / step_s
    probe = (watch.median("probe") + hooks_s) / step_s
    print(f"step of tiny {step_s * 1e3:.0f} ms, of which clip_grad_norm_ {_ms(watch, 'clip')}")
    print(
        f"each step: norms by layer, clip and row {row_s * 1e3:.2f} ms, "
        f"TensorBoard mirror {mirror_s * 1e3:.2f} ms: {every_step:.2%} of the step"
    )
    print(f"a probe: numbers {_ms(watch, 'probe')}, hooks {hooks_s * 1e3:.2f} ms: {probe:.2%}")
    worst = max(every_step / LIMIT_STEP, probe / LIMIT_PROBE)
    print(
        f"limit {LIMIT_STEP:.0%} a step, {LIMIT_PROBE:.0%} a probe  "
        f"measured {every_step:.2%}, {probe:.2%}  {'PASS' if worst <= 1 else 'FAIL'}"
    )


def _ms(watch: Stopwatch, name: str) -> str:
    return f"{watch.median(name) * 1e3:.2f} ms"


def _processor_s(folder: Path, tensorboard: bool) -> float:
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
    """Seconds for hooks to keep their sample of all layers, beside a forward that does nothing."""
    shape = training.model.shape
    layers = nn.Sequential(*(nn.Identity() for _ in range(shape.num_layers)))
    hidden_BxTxD = torch.randn(*training.batch.ids_BxT.shape, shape.hidden_size)
    probe = ModelProbe()
    probe.attach(layers, [str(layer) for layer in range(shape.num_layers)])
    times = []
    for _ in range(20):
        start = time.perf_counter()
        probe.activate()
        layers(hidden_BxTxD)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    run()
