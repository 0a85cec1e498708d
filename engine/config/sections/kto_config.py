"""`[kto]`: the loss of answers with a verdict, good or bad."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lmm_tui.engine.config.sections.section import Section


class KtoConfig(Section):
    loss: Literal["kto", "apo_zero"] = Field(
        "kto", description="kto, or apo_zero: without an estimate of the KL divergence"
    )
    beta: float = Field(0.1, gt=0, le=100, description="KTO β")
    good_weight: float = Field(1.0, ge=0, le=100, description="Weight of good answers")
    bad_weight: float = Field(1.0, ge=0, le=100, description="Weight of bad answers")


if __name__ == "__main__":
    print(KtoConfig())
    print("=== 自测通过 ===")
