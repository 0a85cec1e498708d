"""`[data.columns]`: names of columns that rows have under other names than the usual ones."""

from __future__ import annotations

from pydantic import Field

from lmm_tui.engine.config.sections.section import Section


class ColumnsConfig(Section):
    text: str | None = Field(None, min_length=1, description="Column that holds the text")
    messages: str | None = Field(None, min_length=1, description="Column that holds the turns")
    instruction: str | None = Field(
        None, min_length=1, description="Column that holds the question of an answer to learn"
    )
    input: str | None = Field(None, min_length=1, description="Column that goes below the question")
    output: str | None = Field(
        None, min_length=1, description="Column that holds the answer to learn"
    )
    system: str | None = Field(
        None, min_length=1, description="Column that holds the system prompt"
    )
    prompt: str | None = Field(
        None, min_length=1, description="Column that holds the prompt of dpo, kto and grpo"
    )
    chosen: str | None = Field(
        None, min_length=1, description="Column that holds the better answer"
    )
    rejected: str | None = Field(
        None, min_length=1, description="Column that holds the worse answer"
    )
    completion: str | None = Field(
        None, min_length=1, description="Column that holds the answer of kto"
    )
    label: str | None = Field(
        None, min_length=1, description="Column that says whether an answer of kto is good"
    )
    answer: str | None = Field(
        None, min_length=1, description="Column that holds the right answer of grpo"
    )

    @property
    def named(self) -> dict[str, str]:
        """Those that are set."""
        return self.model_dump(exclude_none=True)


if __name__ == "__main__":
    print(ColumnsConfig(text="content").named)
    print("=== 自测通过 ===")
