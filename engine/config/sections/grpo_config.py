"""`[grpo]`: sampling of answers, their rewards and the policy loss."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lmm_tui.engine.config.sections.section import Section


class GrpoConfig(Section):
    loss: Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo"] = Field(
        "grpo", description="grpo, dr_grpo, dapo, gspo, cispo or rloo"
    )
    group: int = Field(8, ge=2, le=1024, description="Completions per prompt")
    max_tokens: int = Field(64, ge=1, le=32768, description="Max tokens per completion")
    temperature: float = Field(1.0, gt=0, le=10, description="Sampling temperature of completions")
    top_p: float = Field(1.0, gt=0, le=1, description="Top-p of completions")
    updates: int = Field(1, ge=1, le=64, description="Optimizer steps per rollout")
    clip_low: float = Field(0.2, gt=0, le=1, description="Lower clip ε")
    clip_high: float = Field(0.2, gt=0, le=10, description="Upper clip ε")
    beta: float = Field(0.0, ge=0, le=10, description="KL penalty β")
    rewards: list[str] = Field(
        ["exact"],
        min_length=1,
        description="Rewards: exact, format, length, module:function, or a reward model's folder",
    )
    weights: list[float] = Field([], description="Reward weights; empty = equal")


if __name__ == "__main__":
    print(GrpoConfig())
    print("=== 自测通过 ===")
