"""Observes the loop with the metrics package: a row per logged step, probes when they are due.

Losses are the same to the last bit with it and without. `python -m benchmarks observe` measures
what it costs beside a `tiny` step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
import torch
from torch import Tensor

from lmm_tui.engine.config.sections.probe_config import ProbeConfig
from lmm_tui.engine.device import memory_used
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.training.deep_probes import DeepProbes
from lmm_tui.engine.training.step_sums import Signals
from lmm_tui.engine.transfer import LateNumbers
from lmm_tui.metrics.names import (
    CPU,
    MEMORY,
    PROBE,
    SKIPPED,
    TELLING_PROBES,
    VAL_LOSS,
    describe,
)
from lmm_tui.metrics.probes import ModelProbe
from lmm_tui.metrics.step.grad_norms import GradNorms, LayerNorms
from lmm_tui.metrics.step.speed import SpeedMeter
from lmm_tui.metrics.tracker import TrainingTracker
from lmm_tui.metrics.values import measured

_PROBE_TOKENS = 384
_PROBE_SEQUENCES = 4


@dataclass(frozen=True)
class StepTensors:
    """The results of one optimiser step; tensors stay on the device until they are read."""

    step: int
    tokens: int
    """Seen so far, this step included."""
    lr: float
    loss: Tensor
    norms: LayerNorms
    max_norm: float
    stats: dict[str, Tensor]
    scaled: bool = False
    """Whether the gradient was scaled for fp16, where an overflow is part of the search."""
    signals: Tensor | None = None
    """Of several ranks: the sums that `Signals.read` takes."""

    def read_later(self) -> LateNumbers:
        """Queue the copy of loss, norm, the layers' norms, the stage's metrics and the signals."""
        said = () if self.signals is None else self.signals
        values = [self.loss, self.norms.total, *self.norms.layers, *self.stats.values(), *said]
        return LateNumbers(torch.stack([value.float() for value in values]))


@dataclass(frozen=True)
class StepMetrics:
    """The numbers of a step that were read from the device."""

    step: int
    loss: float
    norm: float
    skipped: bool
    """Whether the update was skipped, since loss or gradient norm is not finite."""
    stats: Mapping[str, float] = field(default_factory=dict)
    """The metrics of the stage."""
    signals: Signals | None = None
    """What the ranks said with this step; None where there is one."""


class Observer:
    """Tracker, gradient norms, speed and probes of one run."""

    def __init__(
        self,
        model: LanguageModel,
        tracker: TrainingTracker,
        speed: SpeedMeter,
        *,
        compiled: bool,
        steps_per_epoch: float,
        deep: ProbeConfig | None = None,
        on_row: Callable[[int, Mapping[str, float]], object] = lambda step, row: None,
        of_ranks: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        """`on_row` is called with each row that is logged; `deep` chooses the deep probes;
        `of_ranks` gives what a row says of the ranks."""
        self.grads = GradNorms(model.named_parameters())
        self.speed = speed
        self._tracker = tracker
        self._on_row = on_row
        self._of_ranks = of_ranks
        self._steps_per_epoch = steps_per_epoch
        self._model = model
        self._compiled = compiled
        self._probe = ModelProbe(max_tokens=_PROBE_TOKENS)
        blocks = model.block_names
        depths = sorted({0, len(blocks) // 2, len(blocks) - 1}) if blocks else []
        self._probe.attach(model, [blocks[depth] for depth in depths])
        self.deep = DeepProbes(model, deep or ProbeConfig())
        self._probed: dict[str, float] = {}
        self._skipped = 0
        self._process = psutil.Process()
        self._process.cpu_percent()  # The next call says what was used since this one.

    def record_step(self, numbers: StepTensors, values: LateNumbers, log_every: int) -> StepMetrics:
        """Wait for the `values` of a step, and log them where a row is due."""
        norms, stats = numbers.norms, numbers.stats
        loss, norm, *others = values.read()
        said = 0 if numbers.signals is None else len(numbers.signals)
        signals = Signals.read(*others[-said:]) if said else None
        layers = dict(zip(norms.names, others, strict=False))
        tracker = self._tracker
        tracker.update_loss(loss, "train")
        tracker.update_lr(numbers.lr)
        tracker.update_grad_norm(norm, numbers.max_norm)
        tracker.update_layer_norms(layers)
        of_stage = dict(zip(stats, others[len(layers) :], strict=False))
        for name, value in of_stage.items():
            tracker.update(name, value)
        tracker.update_speed(self.speed.steps_per_s, self.speed.tokens_per_s, self.speed.mfu)
        skipped = not math.isfinite(loss) or not (math.isfinite(norm) or numbers.scaled)
        if skipped:
            self._skipped += 1
            tracker.update(SKIPPED, self._skipped)
        if numbers.step % log_every == 0:
            tracker.update(MEMORY, memory_used(numbers.loss.device) / 1e9)
            tracker.update(CPU, self._process.cpu_percent())
            for name, value in self._of_ranks().items():
                tracker.update(name, value)
            self._log(numbers.step, numbers.tokens)
        return StepMetrics(numbers.step, loss, norm, skipped, of_stage, signals)

    def record_validation(self, step: int, tokens: int, numbers: Mapping[str, float]) -> None:
        """Log a row of metrics on validation data."""
        for name, value in numbers.items():
            if name == VAL_LOSS:
                self._tracker.update_loss(value, "val")
            else:
                self._tracker.update(name, value)
        self._log(step, tokens)

    @contextmanager
    def probe_forward(self, batch: MicroBatch, probing: bool) -> Iterator[None]:
        """Probe the forward pass of `batch` in the `with` block, if `probing`.

        Hooks would make a compiled backbone compile again: an eager pass of a few sequences is
        probed in its place.
        """
        if not probing:
            yield
            return
        hidden: list[Tensor] = []
        self._probe.activate()
        labels_BxT = batch.labels_BxT
        if self._compiled:
            labels_BxT = labels_BxT[:_PROBE_SEQUENCES]
            with torch.no_grad(), self.deep.record_forward():
                ids_BxT = batch.ids_BxT[:_PROBE_SEQUENCES]
                hidden.append(self._model(lambda model: model.read(ids_BxT)))
            yield
        else:
            with self._model.watching(hidden.append), self.deep.record_forward():
                yield
        self._probed = self._measure(hidden[0], labels_BxT)
        self._probe.deactivate()

    @contextmanager
    def probe_update(self, norms: LayerNorms, weight: int, probing: bool) -> Iterator[None]:
        """Probe the update in the `with` block, of a step that weighs `weight`, if `probing`."""
        if not probing:
            yield
            return
        self.deep.record_gradient(norms.total, weight)
        with self.deep.record_update():
            yield

    def log_probe(self, step: int, tokens: int) -> str:
        """Log what was probed in this step; the main numbers in a sentence."""
        found = self._probed
        self._tracker.log_probe_metrics(found, {})
        for name, value in self.deep.collect().items():
            self._tracker.update(name, value)
        self._log(step, tokens)
        told = {describe(PROBE + name).title: name for name in TELLING_PROBES if name in found}
        return measured({title: found[name] for title, name in told.items()}, ".3g")

    @property
    def write_error(self) -> str:
        """Why rows of metrics wait in memory; empty while they are written."""
        return self._tracker.trouble

    @property
    def lost_rows(self) -> int:
        """Rows that the disk never took."""
        return self._tracker.lost_rows

    def settle(self) -> None:
        """Wait until the rows are written or refused; for threads other than the training's."""
        self._tracker.settle()

    def state_dict(self) -> dict[str, Any]:
        own = {"skipped": self._skipped, "deep": self.deep.state_dict()}
        return {**self._tracker.state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._tracker.load_state_dict(state)
        self._skipped = state.get("skipped", 0)
        if "deep" in state:
            self.deep.load_state_dict(state["deep"])

    def close(self) -> None:
        self._tracker.close()

    def _log(self, step: int, tokens: int) -> None:
        epoch = step / self._steps_per_epoch
        self._on_row(step, self._tracker.log(step=step, tokens=tokens, epoch=epoch))

    @torch.no_grad()
    def _measure(self, hidden_BxTxD: Tensor, labels_BxT: Tensor) -> dict[str, float]:
        """Of a random sample of the counted tokens, so that few logits are computed."""
        labels_N = labels_BxT.flatten()
        counted = (labels_N >= 0).nonzero().squeeze(1).cpu()
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(counted), generator=generator)[:_PROBE_TOKENS]
        rows = counted[order].to(labels_N.device)
        hidden_NxD = hidden_BxTxD.flatten(0, 1)[rows]
        logits_NxV = self._model(lambda model: model.head(hidden_NxD))
        self.deep.record_logits(logits_NxV)
        output = self._probe.compute_output_distribution(logits_NxV, labels_N[rows], shift=False)
        return output | self._probe.compute_representation_diversity()


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.model.decoder import Decoder

    decoder = Decoder(ModelShape(50, 16, 2, 2, 1, 8, 32))
    decoder.init_weights(0)
    ids = torch.randint(0, 50, (2, 16))
    with tempfile.TemporaryDirectory() as folder, TrainingTracker(folder) as tracker:
        observer = Observer(decoder, tracker, SpeedMeter(), compiled=False, steps_per_epoch=8)
        with observer.probe_forward(MicroBatch(ids, ids, 32, 32), True):
            decoder(ids)
        print(observer.log_probe(1, 32))
    print("=== 自测通过 ===")
