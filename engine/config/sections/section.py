"""The base of every section: unknown keys are errors, numbers are finite, defaults are checked."""

from __future__ import annotations

from typing import Any, Self, cast, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

_MOST = 10**12
"""Above every whole number of a configuration."""


class Section(BaseModel):
    """A table of the configuration; unknown keys are errors."""

    model_config = ConfigDict(
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
        # Each section is built again within RunConfig: its own validator, only when it is used.
        defer_build=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def strict_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """true is no number and 1 is not true, as pydantic would have it.

        1e3 is a whole number, and the text 0.1, which a form gives, a number.
        """
        kind = cls.model_fields[str(info.field_name)].annotation
        kinds = {kind, *get_args(kind)}
        if bool in kinds:
            wrong = type(value) in (int, float) and "a valid boolean"
        elif int in kinds:
            wrong = type(value) is bool and "a valid integer"
            if type(value) in (int, float) and abs(value) > _MOST:
                wrong = f"less than or equal to {_MOST}"
        else:
            wrong = float in kinds and type(value) is bool and "a valid number"
        if wrong:
            raise PydanticCustomError("strict", f"Input should be {wrong}")
        return value

    @classmethod
    def defaults(cls) -> Self:
        """What `cls()` gives, without building the validators of the whole tree, which takes 60 ms.

        A test checks that the defaults are valid.
        """
        below: dict[str, Any] = {
            name: field.annotation.defaults()
            for name, field in cls.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        }
        return cast(Self, cls.model_construct(None, **below))


if __name__ == "__main__":
    try:
        Section.model_validate({"steps": 1})
    except ValueError as error:
        print(error)
    print("=== 自测通过 ===")
