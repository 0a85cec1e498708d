"""`[data]`: the training text, its tokenizer and the length of a sequence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, field_validator, model_validator

from lmm_tui.data.builtin.task import KINDS
from lmm_tui.engine.config.sections.columns_config import ColumnsConfig
from lmm_tui.engine.config.sections.section import Section
from lmm_tui.engine.config.sections.source_config import SourceConfig
from lmm_tui.message import Message

if TYPE_CHECKING:
    from lmm_tui.data.text.source import Source


class DataConfig(Section):
    source: str = Field(
        "builtin",
        min_length=1,
        description="'builtin', files, a folder, a glob, or a Hugging Face dataset",
    )
    more: list[str] = Field(
        [], title="more sources", description="Further sources, added to data.source; --data again"
    )
    sources: list[SourceConfig] = Field(
        [],
        title="mixture",
        description="Sources with weights, instead of data.source: [[data.sources]] of a file",
    )
    columns: ColumnsConfig = Field(default_factory=ColumnsConfig)
    stream: bool = Field(
        False, description="Start training while the text is still being tokenised (pretrain)"
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
    def cache_folder(self) -> Path | None:
        return Path(self.cache_dir) if self.cache_dir else None

    @property
    def named(self) -> list[str]:
        """All sources as they are typed."""
        return [one.path for one in self.sources] or [self.source, *self.more]

    @property
    def inputs(self) -> list[Source]:
        """All sources as the readers take them."""
        from lmm_tui.data.text.source import Source

        columns = self.columns.named
        if self.sources:
            return [one.source(columns) for one in self.sources]
        return [Source.parse(one, columns) for one in self.named]

    @model_validator(mode="after")
    def _one_kind_of_sources(self) -> Self:
        if self.sources and (self.source != "builtin" or self.more):
            raise ValueError(
                Message("source and sources both say where the data are; leave one out")
            )
        if self.sources and not sum(one.weight for one in self.sources):
            raise ValueError(
                Message("the weights of sources sum to nothing; give one that is above 0")
            )
        names = [one.name for one in self.sources if one.name]
        if len(set(names)) < len(names):
            raise ValueError(Message("two of sources have one name; rename one"))
        return self

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
