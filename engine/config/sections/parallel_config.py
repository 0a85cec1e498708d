"""`[parallel]`: on how many processes a run is trained, and how they divide the work.

A step sees the same rows on any number of ranks, so none of these changes what a run learns.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from lmm_tui.engine.config.sections.section import Section
from lmm_tui.message import Message


class ParallelConfig(Section):
    ranks: int = Field(
        1, ge=0, le=4096, description="Processes on this machine that train the run; 0: one a GPU"
    )
    shard: str = Field(
        "none",
        description="none: each rank holds the model; all: it is divided among the ranks; "
        "a number: among groups of so many ranks",
    )
    bf16_params: bool = Field(
        False,
        description="Where the model is divided, gather parameters as bf16; gradients are still "
        "summed, and weights kept, in fp32",
    )
    restarts: int = Field(
        0, ge=0, le=1000, description="Restarts from the last checkpoint after a rank has crashed"
    )
    timeout_s: float = Field(
        120,
        ge=1,
        le=86_400,
        description="Seconds that ranks wait for one another after the first step",
    )

    @field_validator("shard", mode="before")
    @classmethod
    def _known_shard(cls, value: object) -> str:
        text = str(value)
        if text in ("none", "all") or (text.isdecimal() and int(text) >= 2):
            return text
        raise ValueError(
            Message("choose none, all or a number of ranks from 2 on, not {value!r}", value=text)
        )


if __name__ == "__main__":
    print(ParallelConfig(ranks=8, shard="4"))
    assert ParallelConfig.model_validate({"shard": 2}).shard == "2"
    print("=== 自测通过 ===")
