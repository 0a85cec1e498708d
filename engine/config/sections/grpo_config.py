"""`[grpo]`: sampling of answers, their rewards and the policy loss."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lmm_tui.engine.config.sections.section import Section


class GrpoConfig(Section):
    loss: Literal["grpo", "dr_grpo", "cispo"] = Field("grpo", description="grpo, dr_grpo or cispo")
    group: int = Field(8, ge=2, le=1024, description="Answers to each prompt")
    max_tokens: int = Field(64, ge=1, le=32768, description="Most tokens of an answer")
    temperature: float = Field(1.0, gt=0, le=10, description="Of the answers")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus of the answers")
    updates: int = Field(1, ge=1, le=64, description="Optimiser steps on the same answers")
    clip_low: float = Field(0.2, gt=0, le=1, description="The ratio may fall by this much")
    clip_high: float = Field(0.2, gt=0, le=10, description="The ratio may rise by this much")
    beta: float = Field(0.0, ge=0, le=10, description="Weight of the KL to the reference")
    rewards: list[str] = Field(
        ["exact"],
        min_length=1,
        description="exact, format, length, module:function, or a reward model's folder",
    )
    weights: list[float] = Field([], description="Of the rewards; empty weighs all alike")


if __name__ == "__main__":
    print(GrpoConfig())
    print("=== 自测通过 ===")
