"""`[dpo]`: the preference loss and its reference model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lmm_tui.engine.config.sections.section import Section


class DpoConfig(Section):
    loss: Literal["sigmoid", "ipo", "orpo", "simpo"] = Field(
        "sigmoid", description="sigmoid (DPO), ipo, or without a reference: orpo, simpo"
    )
    beta: float = Field(0.1, gt=0, le=100, description="Strength of the tie to the reference")
    gamma: float = Field(
        0.5, ge=0, le=100, title="simpo margin", description="Margin that simpo asks for"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="Chance that a pair is the wrong way round; of sigmoid"
    )
    reference: Literal["precomputed", "live"] = Field(
        "precomputed", description="Reference log-probs: computed once, or by a second model"
    )


if __name__ == "__main__":
    print(DpoConfig())
    print("=== 自测通过 ===")
