"""`[probe]`: optional measurements of a probe; all are off, each states its cost."""

from __future__ import annotations

from pydantic import Field

from lmm_tui.engine.config.sections.section import Section


class ProbeConfig(Section):
    """What a probe measures beyond the nine numbers, all off; costs are of a `tiny` step."""

    attention: bool = Field(
        False, description="Max attention logit and entropy by layer; costs 1 % of a step"
    )
    activations: bool = Field(
        False, description="RMS and outliers of the activations by layer; 2 % of a step"
    )
    mlp: bool = Field(False, description="Share of dead MLP units by layer; 1 % of a step")
    rank: bool = Field(
        False, description="Effective rank of each layer's representations; 3 % of a step"
    )
    updates: bool = Field(
        False,
        description="Update-to-weight ratio by layer; 2 % of a step, a copy of the weights",
    )
    noise: bool = Field(
        False, description="Gradient noise scale, with two or more micro-batches; 1 % of a step"
    )
    calibration: bool = Field(
        False,
        description="logsumexp, 1 % of a step; and the calibration error, a forward pass of one "
        "micro-batch more at each validation",
    )


if __name__ == "__main__":
    print(ProbeConfig(attention=True))
    print("=== 自测通过 ===")
