"""`[health]`: which rules watch a run, what an alert triggers and who is notified."""

from __future__ import annotations

from pydantic import Field, field_validator

from lmm_tui.engine.config.sections.section import Section


class HealthConfig(Section):
    enable: bool = Field(True, description="Monitor training health")
    rules: str | None = Field(
        None, min_length=1, description="TOML file that disables, tunes or adds rules"
    )
    thresholds: list[str] = Field(
        [], description="Extra rules, such as 'system/memory_gb > 7' (mean of 8 rows)"
    )
    pause: list[str] = Field([], description="Rules whose alert pauses the run")
    checkpoint: list[str] = Field([], description="Rules whose alert saves a checkpoint")
    rollback: list[str] = Field(
        [], description="Rules whose alert rolls back to the last checkpoint from before it"
    )
    webhook: str | None = Field(
        None, pattern=r"^https?://\S+$", description="URL that receives each alert as a JSON POST"
    )
    command: str | None = Field(
        None, min_length=1, description="Shell command that receives each alert as JSON on stdin"
    )

    @field_validator("webhook", "command", mode="before")
    @classmethod
    def _empty_is_unset(cls, given: object) -> object:
        """So that `--set health.command=` switches off what a run came with."""
        return given or None


if __name__ == "__main__":
    print(HealthConfig())
    print("=== 自测通过 ===")
