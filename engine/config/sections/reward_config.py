"""`[reward]`: the loss of a reward model."""

from __future__ import annotations

from pydantic import Field

from lmm_tui.engine.config.sections.section import Section


class RewardConfig(Section):
    margin: float = Field(
        0.0, ge=0, le=100, description="By how much the reward of the better answer is to be higher"
    )
    centre: float = Field(
        0.0, ge=0, le=10, description="Weight of what keeps rewards around 0, such as 0.01"
    )


if __name__ == "__main__":
    print(RewardConfig())
    print("=== 自测通过 ===")
