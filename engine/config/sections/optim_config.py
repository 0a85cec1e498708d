"""`[optim]`: the optimiser and the learning-rate schedule."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lmm_tui.engine.config.sections.section import Section


class OptimConfig(Section):
    name: Literal["adamw", "muon"] = Field(
        "adamw", description="AdamW, or Muon for 2-D weights (AdamW for the rest)"
    )
    state_dtype: Literal["fp32", "8bit"] = Field(
        "fp32", description="Moments of AdamW; 8bit takes 2 bytes a weight in the place of 8"
    )
    lr: float | None = Field(
        None,
        gt=0,
        le=10,
        title="learning rate",
        description="Peak learning rate; unset: 3e-3 * sqrt(96 / hidden)",
    )
    muon_lr: float = Field(0.02, gt=0, le=10, description="Peak learning rate of Muon")
    muon_precision: Literal["bf16", "fp32"] = Field(
        "bf16", description="Arithmetic of Muon's Newton-Schulz iteration"
    )
    schedule: Literal["cosine", "wsd", "minimind", "constant"] = Field(
        "cosine", description="Learning-rate schedule"
    )
    warmup_steps: int = Field(20, ge=0, le=10_000_000, description="Steps of linear warm-up")
    min_lr_ratio: float = Field(0.1, ge=0, le=1, description="Final learning rate / peak")
    decay_fraction: float = Field(
        0.2, gt=0, le=1, description="WSD: share of the run spent decaying"
    )
    weight_decay: float = Field(
        0.1, ge=0, le=10, description="Weight decay of matrices (norms have none)"
    )
    beta1: float = Field(0.9, ge=0, lt=1, description="Adam's first-moment decay")
    beta2: float = Field(0.95, ge=0, lt=1, description="Adam's second-moment decay")
    eps: float = Field(1e-8, gt=0, le=1, description="Adam's epsilon")
    clip: float = Field(1.0, gt=0, le=1e6, description="Max gradient norm (clipping)")


if __name__ == "__main__":
    print(OptimConfig(name="muon"))
    print("=== 自测通过 ===")
