"""What is wrong with a configuration, in one sentence: file and line, key, reason, likely key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lmm_tui.engine.config.options import options
from lmm_tui.guarded_files import read_text
from lmm_tui.message import Message

_LONGEST = 80
"""Characters of a wrong value."""
_START = re.compile(r"^(Input|String|List) (?=should )")
_TEMPLATES = (
    "should be greater than {gt}",
    "should be greater than or equal to {ge}",
    "should be less than {lt}",
    "should be less than or equal to {le}",
    "should have at least {min_length} character",
    "should have at least {min_length} characters",
    "should have at most {max_length} characters",
    "should be a valid dictionary or instance of {class_name}",
)
"""Pydantic's reasons with values."""


def validation_message(error: ValidationError, file: Path | None) -> str:
    """The first problem that pydantic found; `file` is where the values came from."""
    first = error.errors(include_url=False)[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        problem = Message("unknown key{suggestion}", suggestion=_suggestion(key))
    else:
        problem = _reason(first)
        given = first["input"]
        if first["type"] != "value_error" and isinstance(given, str | int | float | bool):
            problem = Message(
                "{problem} (got {given})", problem=problem, given=repr(given)[:_LONGEST]
            )
    return Message(
        "{where}{key}: {problem}", where=_where(file, location), key=key, problem=problem
    )


def _reason(error: ErrorDetails) -> Message:
    """Pydantic's reason, as a template where it has values."""
    values = error.get("ctx", {})
    if error["type"] == "value_error":
        return Message(str(values["error"]))
    reason = _START.sub("", error["msg"])
    if error["type"] == "literal_error" and " or " in reason:
        names, _, last = values["expected"].rpartition(" or ")
        return Message("should be {names} or {last}", names=names, last=last)
    for template in _TEMPLATES:
        message = Message(template, **values)
        if message == reason:
            return message
    return Message(reason)


def _suggestion(key: str) -> str:
    """The key that was probably meant: the same leaf in another section, or a near spelling."""
    known = [option.key for option in options()]
    leaf = key.rpartition(".")[2]
    meant = [name for name in known if name.rpartition(".")[2] == leaf]
    meant = meant or difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    return (
        Message("; did you mean {meant}?", meant=meant[0])
        if meant
        else Message("; see --print-config for all keys")
    )


def _where(file: Path | None, location: Sequence[str]) -> str:
    """`FILE:LINE: ` of a key in a TOML file, or nothing if it is not found there."""
    if file is None:
        return ""
    section, line_number = "", None
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            section = header[1].strip()
            name = section
        elif assignment := re.match(r"\s*([\w.-]+)\s*=", line):
            name = f"{section}.{assignment[1]}" if section else assignment[1]
        else:
            continue
        if name == ".".join(location) or name == ".".join(location[:2]):
            line_number = number
    if line_number is None:
        return ""
    return Message("{file}:{line}: ", file=file, line=line_number)


if __name__ == "__main__":
    from lmm_tui.engine.config.run_config import RunConfig

    try:
        RunConfig.model_validate({"train": {"stepz": 20}})
    except ValidationError as error:
        print(validation_message(error, None))
    print("=== 自测通过 ===")
