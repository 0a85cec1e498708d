"""Which share of a card's peak training reaches: measured in a run, or assumed by size.

Model FLOPs utilisation (MFU, arXiv 2204.02311, appendix B): FLOPs of the model a second, without
recomputation, over the peak of dense products.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from lmm_tui.engine.cards import CardModel, card_of_device
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.run.find_run import find_run
from lmm_tui.engine.run.reader import Reader
from lmm_tui.message import Message
from lmm_tui.metrics.names import TOKENS_PER_S

_ASSUMED = ((5e6, 0.01), (50e6, 0.05), (300e6, 0.15), (1e9, 0.25))
_ASSUMED_LARGE = 0.35
_ASSUMED_FP32 = 0.5
_LAST = 200
"""Rows of a run whose speed counts."""


@dataclass(frozen=True)
class Utilisation:
    """A share of the peak, and where it comes from."""

    mfu: float
    origin: str


def step_peak(shape: ModelShape, seq_len: int, card: CardModel, precision: str, fp8: bool) -> float:
    """FLOP/s of a step at the peak of a card. With `fp8` the matrices of the layers take the
    time of that rate, and attention and head theirs after it."""
    peak = card.peak_flops(precision)
    if not fp8 or card.fp8_tflops is None:
        return peak
    share = fp8_share(shape, seq_len)
    return 1 / (share / (1e12 * card.fp8_tflops) + (1 - share) / peak)


def fp8_share(shape: ModelShape, seq_len: int) -> float:
    """The share of a step's operations that `train.fp8` computes in fp8."""
    weights = sum(rows * columns for rows, columns in shape.layer_matrices.values())
    return 6 * shape.num_layers * weights / shape.flops_per_token(seq_len)


def assumed(shape: ModelShape, precision: str, kind: str = "cuda") -> Utilisation:
    """By the size of the model: small ones wait for kernels to be launched.

    Assumed, not measured. Where products are slow, in fp32 and on a CPU, they hide the rest.
    """
    by_size = next((mfu for limit, mfu in _ASSUMED if shape.parameters < limit), _ASSUMED_LARGE)
    slow = precision == "fp32" or kind == "cpu"
    mfu = max(by_size, _ASSUMED_FP32) if slow else by_size
    return Utilisation(mfu, Message("assumed for a model of this size"))


def measured(name: str, runs_dir: str) -> tuple[CardModel, Utilisation]:
    """The card that a run of the user's trained on, and what share of its peak it reached.

    Raises LmmError.
    """
    run = find_run(name, runs_dir)
    reader = Reader(run.path)
    info = reader.view.info
    card = card_of_device(info.device_name)
    if card is None:
        raise ConfigError(
            "--measured {name}: that run trained on {device}, which is not in the table of cards",
            name=run.name,
            device=info.device_name or info.device or "?",
        )
    reader.poll()
    speeds = reader.series.get(TOKENS_PER_S)
    found = [] if speeds is None else [each for each in speeds.values[-_LAST:] if each > 0]
    if not found:
        raise ConfigError(
            "--measured {name}: it has no rows of {metric} yet", name=run.name, metric=TOKENS_PER_S
        )
    tokens_per_s = float(median(found))
    config = resolve(run.config)
    shape, length = config.model.shape(), config.data.seq_len
    peak = step_peak(shape, length, card, info.precision, config.train.fp8)
    return card, Utilisation(
        shape.flops_per_token(length) * tokens_per_s / peak,
        Message(
            "measured in the run {name}: {speed:,.0f} tokens/s", name=run.name, speed=tokens_per_s
        ),
    )


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import PRESETS

    for preset, shape in PRESETS.items():
        print(preset, assumed(shape, "bf16"))
    print("=== 自测通过 ===")
