"""`[lora]`: low-rank adapters, an option of every stage; rank 0 switches them off."""

from __future__ import annotations

from pydantic import Field

from lmm_tui.engine.config.sections.section import Section


class LoraConfig(Section):
    rank: int = Field(0, ge=0, le=4096, description="LoRA rank; 0 = full fine-tuning")
    alpha: int = Field(16, ge=1, le=65536, description="LoRA alpha; scale is alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="LoRA dropout")
    targets: list[str] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        min_length=1,
        description="LoRA target modules, by the end of their names",
    )


if __name__ == "__main__":
    print(LoraConfig(rank=8))
    print("=== 自测通过 ===")
