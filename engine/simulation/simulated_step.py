"""One optimiser step of a configuration on fake tensors: the memory that it takes, in seconds.

The model, optimisers and step are those of training; only the numbers in the tensors are missing.
A deep model is made with four and with five layers, and each moment of the step extended to its
depth: all layers are alike, so that every sum of bytes is linear in their number.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from lmm_tui.engine import device as devices
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.device import Precision
from lmm_tui.engine.model.adapters import add_adapters, freeze
from lmm_tui.engine.model.architecture import build, build_foreign
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.parallel.ranks import Ranks
from lmm_tui.engine.parallel.spread import Spread
from lmm_tui.engine.parallel.spreading import spread
from lmm_tui.engine.run.run_records import LIKELIHOOD_STAGES
from lmm_tui.engine.simulation.card_kernels import CardKernels
from lmm_tui.engine.simulation.simulated_ranks import SimulatedReplicas, fake_ranks
from lmm_tui.engine.simulation.simulated_stage import SimulatedStage
from lmm_tui.engine.simulation.storage_tracker import StorageTracker
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.optim import build_optimizers
from lmm_tui.engine.training.optimizer_step import OptimizerStep
from lmm_tui.metrics.step.grad_norms import GradNorms, LayerNorms

_FEW, _MORE = 4, 5
_CARD_BLOCK = 512
"""Bytes of which the allocator of a card hands out multiples."""


@dataclass(frozen=True)
class Setup:
    """What is simulated."""

    config: RunConfig
    shape: ModelShape
    precision: Precision
    device: str = "cuda"
    """The type of the device: cuda, mps or cpu."""
    architecture: Mapping[str, Any] | None = None
    """config.json of a model of transformers."""
    beside: tuple[ModelShape, ...] = ()
    """Models that are only read: a teacher, a reference."""
    ranks: int = 1
    shard: str = "none"
    """`none`: every rank has all weights; `all`: a share of them (FSDP); a number: all ranks of
    a group of so many have."""
    recompute: bool = False
    """Whether each layer's forward pass is repeated in the backward pass."""


@dataclass(frozen=True)
class StepMemory:
    """Bytes on one rank."""

    peak: dict[str, int]
    """By category, at the moment when their sum was largest."""
    moment: str
    """Which that is."""
    parameters: int
    sent: int = 0
    """Bytes that the rank sends to others in a step."""

    @property
    def total(self) -> int:
        return sum(self.peak.values())


def simulate(setup: Setup) -> StepMemory:
    """The memory of the second step: the optimiser has its state."""
    if setup.shard.isdecimal():
        return _in_groups(setup, int(setup.shard))
    depth = setup.shape.num_layers
    if setup.architecture is not None or setup.config.train.freeze or depth <= _MORE:
        return step_memory(run_step(setup), setup)
    few, more = (run_step(_with_layers(setup, layers)) for layers in (_FEW, _MORE))
    return step_memory(_extended(few, more, depth - _MORE), setup)


@dataclass(frozen=True)
class StepCounts:
    """What was counted in a step."""

    peaks: dict[str, dict[str, int]]
    """By moment, bytes by category when their sum was largest."""
    sent: int
    """Bytes that the rank sent."""


def step_memory(counted: StepCounts, setup: Setup) -> StepMemory:
    """Of the moment with the largest sum."""
    peaks = counted.peaks
    moment = max(peaks, key=lambda name: sum(peaks[name].values()))
    return StepMemory(peaks[moment], moment, setup.shape.parameters, counted.sent)


def _in_groups(setup: Setup, size: int) -> StepMemory:
    """Weights are sharded within each group of `size` ranks, gradients summed over the groups."""
    size = min(size, setup.ranks)
    found = simulate(replace(setup, ranks=size, shard="all"))
    groups = setup.ranks // size
    summed = 2 * (groups - 1) / groups * 4 * found.parameters / size
    return replace(found, sent=found.sent + round(summed))


def _with_layers(setup: Setup, layers: int) -> Setup:
    return replace(setup, shape=replace(setup.shape, num_layers=layers))


def _extended(few: StepCounts, more: StepCounts, layers: int) -> StepCounts:
    """Of a model with so many layers more than `more`, which has one more than `few`."""

    def further(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
        return {
            category: after.get(category, 0)
            + layers * (after.get(category, 0) - before.get(category, 0))
            for category in {**before, **after}
        }

    peaks = {
        moment: further(few.peaks[moment], more.peaks[moment])
        for moment in few.peaks
        if moment in more.peaks
    }
    return StepCounts(peaks, more.sent + layers * (more.sent - few.sent))


def run_step(setup: Setup) -> StepCounts:
    """Make a step of all its layers."""
    tracker = StorageTracker(1 if setup.device == "cpu" else _CARD_BLOCK, setup.ranks)
    with (
        _without_warnings(),
        fake_ranks(setup.ranks) as ranks,
        FakeTensorMode(allow_non_fake_inputs=True),
        tracker,
        CardKernels(setup.device != "cpu"),
        devices.simulated(setup.device),
    ):
        model = _model(setup, tracker)
        on_ranks = _spread(setup, model, ranks, tracker)
        with tracker.during("weights"):
            beside = [build(shape).requires_grad_(False) for shape in setup.beside]
        context = _context(setup, on_ranks, ranks, tracker)
        _with_optimizer_state(context, tracker)
        tracker.peaks.clear()
        tracker.sent = 0
        _watch_layers(model, tracker)
        with tracker.during("temporary"):
            tracker.begin("forward")
            step = OptimizerStep(context)
            step.fits()
            step.run(probing=False)
        del beside
    stage: Any = context.stage
    return StepCounts(tracker.peaks, _sent(stage.sent_before, tracker.sent, setup))


def shape_of(architecture: Mapping[str, Any]) -> ModelShape:
    """Of a model of transformers, its parameters counted."""
    with FakeTensorMode():
        return build_foreign(architecture).shape


def _sent(before: list[int], in_all: int, setup: Setup) -> int:
    """Of all micro-batches of a step: the last one may send more, the others are alike."""
    others = before[1] if len(before) > 1 else 0
    return in_all + others * (setup.config.train.grad_accum - len(before))


def _model(setup: Setup, tracker: StorageTracker) -> LanguageModel:
    config = setup.config
    with tracker.during("weights"):
        model = build(setup.shape, setup.architecture)
        if config.stage not in LIKELIHOOD_STAGES:
            model.without_dropout()
        if config.lora.rank:
            with _without_moves():
                add_adapters(model, config.lora, config.train.seed)
        freeze(model, config.train.freeze)
        if setup.recompute:
            _recompute_layers(model)
    return model


def _spread(setup: Setup, model: LanguageModel, ranks: Ranks, tracker: StorageTracker) -> Spread:
    if ranks.size > 1 and setup.shard == "none":
        return SimulatedReplicas(model, ranks, tracker)
    with tracker.during("weights"):
        return spread(model, ranks, setup.shard)


def _context(setup: Setup, on_ranks: Spread, ranks: Ranks, tracker: StorageTracker) -> TrainContext:
    model = on_ranks.model
    nothing: Any = None
    device = torch.device("cpu")
    observer: Any = SimpleNamespace(
        grads=_MarkedNorms(model, tracker),
        probe_forward=lambda *_: contextlib.nullcontext(),
        probe_update=lambda *_: _updating(tracker),
    )
    stage: Any = SimulatedStage(setup.config, tracker, ranks.size)
    config = setup.config
    optimizers = build_optimizers(model, config.optim, config.peak_lr)
    return TrainContext(
        nothing,
        nothing,
        config,
        device,
        setup.precision,
        stage,
        model,
        optimizers,
        torch.amp.GradScaler("cpu", enabled=False),
        observer,
        ranks,
        on_ranks,
    )


@contextlib.contextmanager
def _without_moves() -> Iterator[None]:
    """Modules stay where they are: fake weights cannot be moved, and are in place."""
    modules: Any = nn.Module
    move, modules.to = modules.to, lambda module, *_, **__: module
    try:
        yield
    finally:
        modules.to = move


def _recompute_layers(model: LanguageModel) -> None:
    """Keep of each layer only its input, and repeat its forward pass in the backward pass."""
    modules: Any = dict(model.named_modules())
    for name in model.block_names:
        layer = modules[name]
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)


class _MarkedNorms(GradNorms):
    """Marks where the backward passes are over."""

    def __init__(self, model: LanguageModel, tracker: StorageTracker) -> None:
        super().__init__(model.named_parameters())
        self._tracker = tracker

    def measure(self) -> LayerNorms:
        self._tracker.begin("clipping")
        return super().measure()

    def squares(self) -> Tensor:
        self._tracker.begin("clipping")
        return super().squares()


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Of kernels that are slow on a CPU, where none of them runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _updating(tracker: StorageTracker) -> Iterator[None]:
    tracker.begin("update")
    yield


def _with_optimizer_state(context: TrainContext, tracker: StorageTracker) -> None:
    """Make the state that optimisers make in their first step."""
    trained = [p for p in context.model.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    for optimizer in context.optimizers:
        optimizer.step()
        state = (value for each in optimizer.state.values() for value in each.values())
        tracker.assign("optimizer", (value for value in state if isinstance(value, Tensor)))
    context.zero_grad()
    for parameter in trained:
        parameter.register_post_accumulate_grad_hook(
            lambda one: tracker.assign("gradients", [] if one.grad is None else [one.grad])
        )


def _watch_layers(model: LanguageModel, tracker: StorageTracker) -> None:
    """Begin a moment with the backward pass of each of the layers that are unlike the others."""
    modules = dict(model.named_modules())
    blocks = [modules[name] for name in model.block_names]
    last = len(blocks) - 1
    named = {
        0: "first layer",
        1: "second layer",
        last - 1: "last layer but one",
        last: "last layer",
    }

    def watch(number: int, found: Any) -> None:
        output: Tensor = found[0] if isinstance(found, tuple) else found
        if output.requires_grad:
            moment = f"backward, {named.get(number, 'other layers')}"
            output.register_hook(lambda _: tracker.begin(moment))

    for number, block in enumerate(blocks):
        block.register_forward_hook(lambda _m, _i, found, number=number: watch(number, found))
    embedding = model.embedding_module

    def watch_embedding(_m: Any, _i: Any, found: Tensor) -> None:
        if found.requires_grad:
            found.register_hook(lambda _: tracker.begin("backward, embedding"))

    embedding.register_forward_hook(watch_embedding)


if __name__ == "__main__":
    from lmm_tui.engine.config.resolve import resolve

    config = resolve(assignments={"model.preset": "tiny"}).completed()
    found = simulate(Setup(config, config.model.shape(), "fp32", device="cpu"))
    print(found, f"{found.total / 1e6:.0f} MB")
    assert found.total > 16 * found.parameters
    print("=== 自测通过 ===")
