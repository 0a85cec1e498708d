"""`[log]`: intervals of rows, validations, probes, samples and checkpoints, and what is kept."""

from __future__ import annotations

from pydantic import Field

from lmm_tui.engine.config.sections.section import Section

_VAL_BATCH = 16


class LogConfig(Section):
    every: int = Field(1, ge=1, description="Steps between logged rows")
    val_every: int = Field(50, ge=0, description="Steps between validations; 0 is never")
    val_batches: int = Field(
        8,
        ge=1,
        description="Validation data, in batches of 16 sequences whatever train.batch_size is",
    )
    probe_every: int = Field(50, ge=0, description="Steps between probes; 0 is on request only")
    sample_every: int = Field(200, ge=0, description="Steps between samples; 0 is on request only")
    checkpoint_every: int = Field(500, ge=0, description="Steps between checkpoints; 0: end only")
    keep: int = Field(3, ge=1, description="Checkpoints to keep, the newest")
    keep_best: int = Field(1, ge=0, description="And the best by validation loss")
    keep_every: int = Field(0, ge=0, description="And one every so many steps; 0 keeps none")
    tensorboard: bool = Field(True, description="Mirror the scalars as TensorBoard events")
    trackers: list[str] = Field(
        [], description="Installed trackers that get the scalars, too, by their names"
    )
    prompts: list[str] = Field(
        [], description="What the model is asked in samples; empty is what suits the stage"
    )
    sample_tokens: int = Field(48, ge=1, le=4096, description="Tokens in a sample")
    temperature: float = Field(0.8, ge=0, le=10, description="Of samples; 0 is greedy")
    top_p: float = Field(0.95, gt=0, le=1, description="Nucleus of samples")

    @property
    def val_sequences(self) -> int:
        """How many sequences, pairs or prompts a validation has at most."""
        return self.val_batches * _VAL_BATCH


if __name__ == "__main__":
    print(LogConfig())
    print("=== 自测通过 ===")
