"""`[train]`: steps, batches, precision and the reaction to a non-finite step."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lmm_tui.engine.config.sections.section import Section


class TrainConfig(Section):
    steps: int = Field(1000, ge=1, le=100_000_000, description="Training steps (optimizer steps)")
    epochs: float | None = Field(
        None,
        gt=0,
        le=100_000,
        description="Epochs; sets the number of steps",
    )
    minutes: float | None = Field(
        None,
        gt=0,
        le=1_000_000,
        description="Minutes of training, instead of train.steps; the learning rate follows the "
        "share of the time",
    )
    tokens: int | None = Field(
        None, gt=0, le=10**12, description="Tokens to train on, instead of train.steps"
    )
    flops: float | None = Field(
        None, gt=0, le=1e30, description="Computation to spend, instead of train.steps"
    )
    batch_size: int = Field(16, ge=1, le=65536, description="Sequences per micro-batch")
    grad_accum: int = Field(
        1,
        ge=1,
        le=65536,
        title="accumulation",
        description="Micro-batches per optimizer step (gradient accumulation)",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of weights and data order")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Numeric precision; auto picks by device"
    )
    compile: bool | None = Field(
        None,
        description="torch.compile the model (slow start, faster steps); unset: on a CUDA GPU, "
        "where the steps have one shape",
    )
    recompute: Literal["none", "layers"] = Field(
        "none",
        description="Activations computed again in the backward pass: less memory, slower steps",
    )
    cuda_graphs: Literal["off", "auto", "on"] = Field(
        "off",
        description="A whole step as one CUDA graph: faster where a small model waits for the "
        "launch of kernels",
    )
    fp8: bool = Field(
        False,
        description="Products of the layers in 8-bit floats, by torchao; for large models on Ada, "
        "Hopper and later",
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads; unset: torch's default"
    )
    on_nonfinite: Literal["skip", "rollback", "pause", "stop"] = Field(
        "skip",
        title="bad steps",
        description="Steps with NaN/Inf are skipped; then: skip, rollback (to the last "
        "checkpoint), pause or stop",
    )
    rollback_lr_factor: float = Field(
        1.0, gt=0, le=1, description="Learning-rate factor after a rollback"
    )
    freeze: list[str] = Field(
        [], description="Frozen parameters (glob patterns), such as *.layers.0.*"
    )

    @property
    def length_key(self) -> str:
        """The key that says how long the run is: `steps`, or what they follow from."""
        return next((key for key in LENGTHS if getattr(self, key) is not None), "steps")


LENGTHS = ("epochs", "minutes", "tokens", "flops")
"""Lengths of a run that the steps follow from; at most one of these and `steps` is given."""


if __name__ == "__main__":
    print(TrainConfig(steps=20))
    print("=== 自测通过 ===")
