"""`[distill]`: the teacher, and the divergence between its distribution and the student's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lmm_tui.engine.config.sections.section import Section


class DistillConfig(Section):
    teacher: str | None = Field(
        None, min_length=1, description="Its weights: a run, a checkpoint, a HF folder or a .pth"
    )
    data: Literal["chat", "text"] = Field(
        "chat", description="What they read: conversations or plain text"
    )
    divergence: Literal["forward", "reverse"] = Field(
        "forward", description="KL(teacher, student) or the reverse"
    )
    temperature: float = Field(1.0, gt=0, le=100, description="Of both, in the KL")
    ce_weight: float = Field(
        0.0, ge=0, le=1, description="Share of the cross entropy; the rest is the KL"
    )


if __name__ == "__main__":
    print(DistillConfig())
    print("=== 自测通过 ===")
