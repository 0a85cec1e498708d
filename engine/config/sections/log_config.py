"""`[log]`: intervals of rows, validations, probes, samples and checkpoints, and what is kept."""

from __future__ import annotations

from pydantic import Field

from lmm_tui.engine.config.sections.section import Section

_VAL_BATCH = 16
_SAMPLES, _CHECKPOINTS = 20, 5
"""In a run, where nothing else is set."""
_LONGEST_WITHOUT_SAMPLE, _LONGEST_WITHOUT_CHECKPOINT = 1000, 2000
_FIRST_SAMPLE = 10
"""A step: nobody waits for long to read what the model says. No interval is shorter by itself."""


class LogConfig(Section):
    every: int = Field(1, ge=1, description="Log interval in steps")
    val_every: int = Field(50, ge=0, description="Validation interval in steps; 0 = never")
    val_batches: int = Field(
        8,
        ge=1,
        description="Validation size, in batches of 16 sequences",
    )
    probe_every: int = Field(50, ge=0, description="Probe interval in steps; 0 = on request only")
    sample_every: int | None = Field(
        None,
        ge=0,
        description="Sample interval in steps; 0 = on request only; unset: 20 per run, the first "
        "early",
    )
    checkpoint_every: int | None = Field(
        None, ge=0, description="Checkpoint interval in steps; 0 = end only; unset: 5 per run"
    )
    keep: int = Field(3, ge=1, description="Keep the last N checkpoints")
    keep_best: int = Field(1, ge=0, description="Also keep the N best by validation loss")
    keep_every: int = Field(0, ge=0, description="Also keep one every N steps; 0 = none")
    tensorboard: bool = Field(True, description="Also write TensorBoard events")
    trackers: list[str] = Field(
        [],
        description="Trackers that get a copy of the run: wandb, trackio, mlflow, or one that is "
        "installed",
    )
    prompts: list[str] = Field(
        [], description="Prompts of samples; empty: chosen from the data or by stage"
    )
    sample_tokens: int = Field(48, ge=1, le=4096, description="Tokens per sample")
    temperature: float = Field(0.8, ge=0, le=10, description="Sampling temperature; 0 = greedy")
    top_p: float = Field(0.95, gt=0, le=1, description="Top-p (nucleus sampling)")

    def sample_interval(self, steps: int) -> int:
        """Steps between samples of a run of so many steps; 0 is never."""
        if self.sample_every is not None:
            return self.sample_every
        return min(max(round(steps / _SAMPLES), _FIRST_SAMPLE), _LONGEST_WITHOUT_SAMPLE)

    def checkpoint_interval(self, steps: int) -> int:
        """Steps between checkpoints of a run of so many steps; 0 is never but at its end."""
        if self.checkpoint_every is not None:
            return self.checkpoint_every
        return min(max(round(steps / _CHECKPOINTS), _FIRST_SAMPLE), _LONGEST_WITHOUT_CHECKPOINT)

    def sample_is_due(self, step: int, steps: int) -> bool:
        """At each interval; where that is not set, also after the first few steps."""
        every = self.sample_interval(steps)
        early = self.sample_every is None and step == _FIRST_SAMPLE
        return early or (every > 0 and step % every == 0)

    @property
    def val_sequences(self) -> int:
        """How many sequences, pairs or prompts a validation has at most."""
        return self.val_batches * _VAL_BATCH


if __name__ == "__main__":
    print(LogConfig())
    print("=== 自测通过 ===")
