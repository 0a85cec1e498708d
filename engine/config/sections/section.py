"""The base of every section: unknown keys are errors, numbers are finite, defaults are checked."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)


if __name__ == "__main__":
    try:
        Section.model_validate({"steps": 1})
    except ValueError as error:
        print(error)
    print("=== 自测通过 ===")
