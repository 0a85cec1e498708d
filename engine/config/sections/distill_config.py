"""`[distill]`: the teacher, and the divergence between its distribution and the student's."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lmm_tui.engine.config.sections.section import Section


class DistillConfig(Section):
    teacher: str | None = Field(
        None,
        min_length=1,
        description="Teacher: a run, a checkpoint, a HF folder, .pth or .gguf",
    )
    data: Literal["chat", "text"] = Field(
        "chat", description="Training data: conversations or plain text"
    )
    divergence: Literal["forward", "reverse"] = Field(
        "forward", description="Forward KL(teacher, student) or reverse KL"
    )
    temperature: float = Field(1.0, gt=0, le=100, description="Distillation temperature")
    ce_weight: float = Field(0.0, ge=0, le=1, description="Cross-entropy weight (1 − KL weight)")


if __name__ == "__main__":
    print(DistillConfig())
    print("=== 自测通过 ===")
