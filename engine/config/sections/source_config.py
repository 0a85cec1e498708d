"""`[[data.sources]]`: one source of a mixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from lmm_tui.data.errors import DataError
from lmm_tui.engine.config.sections.section import Section

if TYPE_CHECKING:
    from lmm_tui.data.text.source import Source


class SourceConfig(Section):
    path: str = Field(min_length=1, description="What data.source may be")
    name: str | None = Field(
        None,
        pattern=r"^[\w.-]{1,40}$",
        description="Of its validation loss; unset is made from the path",
    )
    weight: float = Field(
        1.0, ge=0, le=1e9, description="Its share of what is trained on, beside the others'"
    )
    epochs: float | None = Field(
        None, gt=0, description="At most so many passes over it; unset is any number"
    )
    filter: str | None = Field(
        None, description='Rows to read, by their columns, such as lang == "en"'
    )

    @field_validator("filter")
    @classmethod
    def _is_comparison(cls, value: str | None) -> str | None:
        if value is not None:
            from lmm_tui.data.text.row_filter import RowFilter

            try:
                RowFilter.parse(value)
            except DataError as error:
                raise ValueError(str(error).removeprefix("data.sources: ")) from None
        return value

    def source(self, columns: dict[str, str]) -> Source:
        """As the readers take it."""
        from lmm_tui.data.text.row_filter import RowFilter
        from lmm_tui.data.text.source import Source

        chosen = RowFilter.parse(self.filter) if self.filter else None
        return Source.parse(self.path, columns, chosen)


if __name__ == "__main__":
    print(SourceConfig(path="a.jsonl", weight=2, filter="score >= 3").source({}))
    try:
        SourceConfig(path="a.jsonl", filter="import os")
    except ValueError as error:
        print(error)
    print("=== 自测通过 ===")
