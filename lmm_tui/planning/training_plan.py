"""What a run would take on rented cards: memory a rank, tokens and bytes a step, hours, money.

Memory comes from `engine.simulation`; speed from the peak of the card and a model FLOPs
utilisation (MFU) that is measured in a run of the user's, or assumed by the size of the model. Of
the ways to lay out the step that fit, the fastest is marked. Imports torch when it simulates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from lmm_tui.engine.cards import CardModel, own_table
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.even_shares import refuse_uneven
from lmm_tui.engine.config.fp8_conditions import refuse_fp8, refuse_sides
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.planning.assumed_speed import Utilisation, assumed, fp8_share, step_peak
from lmm_tui.planning.estimate import estimate
from lmm_tui.planning.process_memory import beside_tensors

if TYPE_CHECKING:
    from lmm_tui.engine.simulation.simulated_step import StepMemory

Shard = str
"""none, all, or the ranks of a group, as `parallel.shard` has it."""
Precision = Literal["fp32", "bf16", "fp16"]
Limit = Literal["computation", "links", "memory"]

_TIGHT = 0.9
"""Share of the card's memory above which fragments of the allocator may end a run."""
_LIBRARIES = 2**30
"""Bytes of a card that CUDA, its libraries and collectives take: not of tensors, assumed."""
_RECOMPUTED = 4 / 3
"""Operations of a step that repeats the forward pass of each layer."""
_SHARED = {"none": 0, "all": 2}


@dataclass(frozen=True)
class PlanRequest:
    """What is to be planned."""

    config: RunConfig
    shape: ModelShape
    architecture: Mapping[str, Any] | None = None
    ranks: int = 1
    beside: tuple[ModelShape, ...] = ()
    """Models that are only read: a teacher, a reference."""
    measured: tuple[CardModel, Utilisation] | None = None
    """The utilisation that a run on such a card reached."""

    @property
    def rows(self) -> int:
        """Sequences of a step, of all ranks."""
        return self.config.train.batch_size * self.config.train.grad_accum

    @property
    def shards(self) -> list[Shard]:
        """Ways to divide the weights, that of the settings among them."""
        if self.ranks == 1:
            return ["none"]
        own = self.config.parallel.shard
        if not own.isdecimal() or int(own) == self.ranks:
            return ["none", "all"]
        return ["none", own, "all"]

    @property
    def micro_batches(self) -> list[int]:
        """Sizes to try, the configured one first, each at most half of the one before."""
        rows = self.rows // self.ranks
        sizes: list[int] = []
        most = min(self.config.train.batch_size, rows)
        for size in range(most, 0, -1):
            if rows % size == 0 and (not sizes or size <= sizes[-1] // 2 or size == 1):
                sizes.append(size)
        return sizes


@dataclass(frozen=True)
class StepLayout:
    """How a step is laid out on the ranks, and what it takes of each."""

    shard: Shard
    recompute: bool
    batch_size: int
    """Sequences of a micro-batch of one rank."""
    grad_accum: int
    """Micro-batches of one rank in a step."""
    peak: dict[str, int]
    """Bytes by category when memory is fullest."""
    moment: str
    """When that is."""
    sent: int
    """Bytes that a rank sends in a step."""
    seconds: float
    """Of a step."""
    limit: Limit
    """What takes longest, and so as long as the step."""
    room: int
    """Bytes of the card for tensors, or of the machine for the process of a rank."""

    @property
    def memory(self) -> int:
        return sum(self.peak.values())

    @property
    def verdict(self) -> Literal["fits", "tight", "too large"]:
        if self.memory > self.room:
            return "too large"
        return "tight" if self.memory > _TIGHT * self.room else "fits"


@dataclass(frozen=True)
class TrainingPlan:
    """Of one kind of card."""

    asked: PlanRequest
    card: CardModel
    precision: Precision
    utilisation: Utilisation
    layouts: tuple[StepLayout, ...]

    @cached_property
    def taken(self) -> StepLayout | None:
        """The fastest layout that fits; among equals the one with the larger micro-batch."""
        order = {"fits": 0, "tight": 1}
        fitting = [one for one in self.layouts if one.verdict in order]
        return min(
            fitting,
            key=lambda one: (
                order[one.verdict],
                one.seconds,
                -one.batch_size,
                _SHARED.get(one.shard, 1),
            ),
            default=None,
        )

    @property
    def fp8_share(self) -> float:
        """Of the operations of a step; 0 without `train.fp8`."""
        config = self.asked.config
        return fp8_share(self.asked.shape, config.data.seq_len) if config.train.fp8 else 0.0

    @property
    def tokens_per_step(self) -> int:
        return self.asked.config.tokens_per_step

    @cached_property
    def steps(self) -> int | None:
        """None where they follow from the data or from time."""
        return estimate(self.asked.config, shape=self.asked.shape).steps

    def hours_of(self, layout: StepLayout) -> float | None:
        """How long the run takes; None where its steps are not known."""
        if self.asked.config.train.minutes is not None:
            return self.asked.config.train.minutes / 60
        return None if self.steps is None else layout.seconds * self.steps / 3600

    def cost_of(self, layout: StepLayout) -> float | None:
        """USD of all cards; None without a price."""
        hours = self.hours_of(layout)
        if hours is None or self.card.price is None:
            return None
        return hours * self.card.price * self.asked.ranks

    @property
    def hours(self) -> float | None:
        return None if self.taken is None else self.hours_of(self.taken)

    @property
    def cost(self) -> float | None:
        return None if self.taken is None else self.cost_of(self.taken)


def precision_on(config: RunConfig, card: CardModel) -> Precision:
    """The arithmetic that `train.precision` means on a card. Raises ConfigError."""
    wanted = config.train.precision
    if wanted == "auto":
        return "bf16" if card.bf16 else "fp16"
    if wanted == "bf16" and not card.bf16:
        raise ConfigError(
            "train.precision: {device} has no bf16; use fp16, fp32 or auto", device=card.name
        )
    return wanted


def _refuse_fp8_on(asked: PlanRequest, card: CardModel, precision: Precision) -> None:
    """ConfigError where `train.fp8` is asked for and cannot be, on this card or at all."""
    if not asked.config.train.fp8:
        return
    if card.fp8_tflops is None:
        raise ConfigError(
            "train.fp8: the table of cards gives {card} no fp8_tflops, which those without units "
            "for it don't have; leave it out, or add the number to {file}",
            card=card.name,
            file=own_table(),
        )
    refuse_fp8(asked.config, precision, alone=asked.ranks == 1)
    if asked.architecture is not None:
        raise ConfigError("train.fp8: models of transformers train without it; leave it out")
    refuse_sides(asked.shape.layer_matrices)


class Planner:
    """Plans one run for several cards; what is simulated for one serves the others."""

    def __init__(self, asked: PlanRequest) -> None:
        refuse_uneven(asked.config, asked.ranks)
        self._asked = asked
        self._known: dict[tuple[object, ...], StepMemory] = {}

    def plan(self, card: CardModel) -> TrainingPlan:
        """Raises ConfigError where the card cannot do what is asked."""
        asked = self._asked
        precision = precision_on(asked.config, card)
        _refuse_fp8_on(asked, card, precision)
        used = assumed(asked.shape, precision, card.kind)
        if asked.measured is not None and asked.measured[0].key == card.key:
            used = asked.measured[1]
        layouts = [
            self._layout(card, precision, used, shard, recompute)
            for shard in asked.shards
            for recompute in (False, True)
        ]
        return TrainingPlan(asked, card, precision, used, tuple(layouts))

    def _layout(
        self,
        card: CardModel,
        precision: Precision,
        used: Utilisation,
        shard: Shard,
        recompute: bool,
    ) -> StepLayout:
        """That with the largest micro-batch that fits, up to the configured one."""
        sizes = self._asked.micro_batches
        smallest = self._sized(card, precision, used, shard, recompute, 1)
        if smallest.verdict == "too large":
            return smallest
        for size in sizes[:-1]:
            found = self._sized(card, precision, used, shard, recompute, size)
            if found.verdict == "fits":
                return found
        return smallest

    def _sized(
        self,
        card: CardModel,
        precision: Precision,
        used: Utilisation,
        shard: Shard,
        recompute: bool,
        batch_size: int,
    ) -> StepLayout:
        asked = self._asked
        count = asked.rows // asked.ranks // batch_size
        memory = self._simulated(card, precision, shard, recompute, batch_size, count)
        tokens = asked.rows * asked.config.data.seq_len
        length = asked.config.data.seq_len
        flops = asked.shape.flops_per_token(length) * tokens / asked.ranks
        peak = step_peak(asked.shape, length, card, precision, asked.config.train.fp8)
        computing = flops * (_RECOMPUTED if recompute else 1) / (used.mfu * peak)
        by_category = dict(memory.peak)
        if card.kind == "cpu":
            by_category["process"] = beside_tensors(memory.total)
        times: dict[Limit, float] = {
            "computation": computing,
            "links": memory.sent / (card.link_gb_s * 1e9),
            "memory": _seconds_of_memory(memory, card, count, asked.ranks, shard),
        }
        limit = max(times, key=lambda name: times[name])
        return StepLayout(
            shard,
            recompute,
            batch_size,
            count,
            by_category,
            memory.moment,
            memory.sent,
            times[limit],
            limit,
            # Ranks on a CPU share its memory.
            card.memory // asked.ranks if card.kind == "cpu" else card.memory - _LIBRARIES,
        )

    def _simulated(
        self,
        card: CardModel,
        precision: Precision,
        shard: Shard,
        recompute: bool,
        batch_size: int,
        micro_batches: int,
    ) -> StepMemory:
        from lmm_tui.engine.simulation.simulated_step import Setup, simulate

        asked = self._asked
        changes = {"train.batch_size": batch_size, "train.grad_accum": micro_batches}
        setup = Setup(
            with_changes(asked.config, changes),
            asked.shape,
            precision,
            device=card.kind,
            architecture=asked.architecture,
            beside=asked.beside,
            ranks=asked.ranks,
            shard=shard,
            recompute=recompute,
        )
        key = (precision, card.kind, shard, recompute, batch_size)
        if key not in self._known:
            self._known[key] = simulate(setup)
        return self._known[key]


def _seconds_of_memory(
    memory: StepMemory, card: CardModel, micro_batches: int, ranks: int, shard: Shard
) -> float:
    """How long the memory of a card takes for what a step moves at least, however small its
    batches: weights read and gradients written in each micro-batch, in fp32, and gradients read,
    weights and moments read and written in the update of the rank's share. 0 where its speed is
    not known."""
    if not card.bandwidth_gb_s:
        return 0.0
    group = int(shard) if shard.isdecimal() else ranks if shard == "all" else 1
    of_passes = 2 * 4 * memory.parameters * micro_batches
    of_update = 3 * 4 * memory.parameters / group + 2 * memory.peak.get("optimizer", 0)
    return (of_passes + of_update) / (card.bandwidth_gb_s * 1e9)


if __name__ == "__main__":
    from lmm_tui.engine.cards import find_card
    from lmm_tui.engine.config.resolve import resolve

    small = {"train.steps": 1000, "train.batch_size": 1, "model.num_layers": 1}
    settings = resolve(assignments=small).completed()
    found = Planner(PlanRequest(settings, settings.model.shape())).plan(find_card("rtx-4090"))
    print(found.taken, found.hours, found.cost)
    assert found.taken is not None and found.taken.verdict == "fits"
    print("=== 自测通过 ===")
