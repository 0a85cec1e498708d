"""Estimates the cost of a configuration: parameters, tokens, memory, disk, computation.

Pure arithmetic on the configuration and on the size of its data; it opens no file. All figures are
first-order: good for choosing a configuration, not for accounting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.i18n.number_format import count
from lmm_tui.planning.process_memory import beside_tensors

_MOMENTS = {"adamw": 2, "muon": 1}
"""Moments of each weight."""


@dataclass(frozen=True)
class Estimate:
    """Sizes in bytes, computation in floating-point operations."""

    shape: ModelShape
    steps: int | None
    """None if they follow from data that is not known."""
    tokens_per_step: int
    total_tokens: int
    """Both are 0 if the lengths of the samples are not known."""
    corpus_tokens: int | None
    """Approximate tokens in the training data; None if the data is not known."""
    memory: int
    """Of a card: weights, gradients, optimiser state and activations. On a CPU all that the
    process takes."""
    checkpoint: int
    checkpoints: int
    """Checkpoints on disk at the end."""
    flops: float

    @property
    def epochs(self) -> float | None:
        return self.total_tokens / self.corpus_tokens if self.corpus_tokens else None


def estimate(
    config: RunConfig,
    *,
    corpus_bytes: int | None = None,
    vocab_size: int | None = None,
    half_precision: bool = False,
    on_card: bool = False,
    shape: ModelShape | None = None,
) -> Estimate:
    """Estimate the cost of `config`; raises ConfigError if it does not describe a valid model.

    `corpus_bytes` is the size of the text, `vocab_size` that of a given tokenizer,
    `half_precision` whether products are in 16 bits, `on_card` whether tensors are in the memory
    of a GPU, `shape` that of weights from elsewhere.
    """
    shape = shape or config.model.shape(vocab_size)
    train, data, log = config.train, config.data, config.log
    corpus_tokens = None
    if corpus_bytes is not None:
        text = corpus_bytes * (1 - data.val_fraction)
        corpus_tokens = round(text / bytes_per_token(shape.vocab_size))
    # Experts are stacked, which Muon leaves to AdamW.
    moments: float = 2 if shape.num_experts else _MOMENTS[config.optim.name]
    if config.optim.state_dtype == "8bit" and moments == 2:
        moments = 0.51  # A byte a value, and a scale of 4 for each 256.
    steps = _steps(config, shape, corpus_tokens)
    total_tokens = config.tokens_per_step * (steps or 0)
    # The last step is always saved, whether it is due then or not.
    every = log.checkpoint_interval(steps or 1)
    saved = math.ceil((steps or 1) / every) if every else 1
    tensors = shape.training_bytes(
        train.batch_size,
        data.seq_len,
        half_precision=half_precision,
        optimizer_values=moments,
        accumulates=train.grad_accum > 1,
    )
    return Estimate(
        shape=shape,
        steps=steps,
        tokens_per_step=config.tokens_per_step,
        total_tokens=total_tokens,
        corpus_tokens=corpus_tokens,
        memory=tensors if on_card else tensors + beside_tensors(tensors),
        checkpoint=round(shape.parameters * 4 * (1 + moments)),
        checkpoints=min(log.keep, saved),
        flops=shape.flops_per_token(data.seq_len) * total_tokens,
    )


def _steps(config: RunConfig, shape: ModelShape, corpus_tokens: int | None) -> int | None:
    """None where they follow from time, or from data that is not known."""
    train, a_step = config.train, config.tokens_per_step
    if train.length_key == "steps":
        return train.steps
    if train.minutes is not None or not a_step:
        return None
    if train.epochs is not None:
        known = corpus_tokens is not None
        return max(1, math.ceil(train.epochs * (corpus_tokens or 0) / a_step)) if known else None
    if train.tokens is not None:
        return math.ceil(train.tokens / a_step)
    cost = shape.flops_per_token(config.data.seq_len) * a_step
    return max(1, math.floor((train.flops or 0.0) / cost))


def bytes_per_token(vocab_size: int) -> float:
    """Approximate UTF-8 bytes per token of a byte-level BPE.

    A line fitted to measurements on the built-in corpus: 1.81 bytes at a vocabulary of 512, 2.29
    at 1,024, 3.25 at 4,096, 3.54 at 6,400, 3.90 at 16,384, 4.03 at 32,768. Other text differs.
    """
    return min(2.3 + 0.48 * math.log2(vocab_size / 1024), 4.0)


def exact(number: int) -> str:
    """A count with all its digits below 100,000, else shortened by `count`."""
    return f"{number:,}" if number < 100_000 else count(number)


if __name__ == "__main__":
    demo = RunConfig.model_validate({"model": {"preset": "tiny"}})
    cost = estimate(demo, corpus_bytes=6_000_000)
    print(f"{count(cost.shape.parameters)} parameters, {cost.memory:,} bytes")
    print(f"{exact(cost.total_tokens)} tokens, {cost.epochs:.2f} epochs")
    assert cost.tokens_per_step * demo.train.steps == cost.total_tokens
    print("=== 自测通过 ===")
