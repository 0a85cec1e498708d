"""`[data]`: the training text, its tokenizer and the length of a sequence."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from lmm_tui.data.builtin.task import KINDS
from lmm_tui.engine.config.sections.section import Section
from lmm_tui.message import Message


class DataConfig(Section):
    source: str = Field(
        "builtin",
        min_length=1,
        description="'builtin', or .txt / .jsonl / .json files, a folder or a glob of them",
    )
    more: list[str] = Field(
        [], title="more sources", description="Further sources, added to data.source; --data again"
    )
    kinds: list[str] = Field(
        [],
        description="Of the built-in questions: " + ", ".join(KINDS) + "; empty is all",
    )
    template: Literal["chatml", "own"] = Field(
        "chatml", description="Chat template: ChatML, or the tokenizer's"
    )
    tokenizer: str | None = Field(
        None, description="A tokenizer.json or Hugging Face folder; unset trains one on the data"
    )
    seq_len: int = Field(
        256, ge=8, le=131072, title="sequence length", description="Tokens in one sequence"
    )
    val_fraction: float = Field(
        0.02, gt=0, le=0.5, description="Fraction of the data used for validation"
    )
    builtin_mb: float = Field(6.0, gt=0.05, le=64, description="Size of the built-in corpus, MB")
    cache_dir: str | None = Field(
        None, description="Folder for tokenized data; unset: the user's cache folder"
    )

    @property
    def sources(self) -> list[str]:
        """All sources."""
        return [self.source, *self.more]

    @field_validator("kinds")
    @classmethod
    def _known_kinds(cls, value: list[str]) -> list[str]:
        if unknown := next((kind for kind in value if kind not in KINDS), None):
            raise ValueError(
                Message(
                    "unknown kind {unknown!r}; choose from {kinds}", unknown=unknown, kinds=[*KINDS]
                )
            )
        return value


if __name__ == "__main__":
    print(DataConfig())
    try:
        DataConfig(kinds=["poems"])
    except ValueError as error:
        print(error)
    print("=== 自测通过 ===")
