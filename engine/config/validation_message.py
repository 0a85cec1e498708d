"""What is wrong with a configuration, in one sentence: file and line, key, reason, likely key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from lmm_tui.engine.config.options import options
from lmm_tui.guarded_files import read_text
from lmm_tui.message import Message

_LONGEST = 80
"""Characters of a wrong value."""


def validation_message(error: ValidationError, file: Path | None) -> str:
    """The first problem that pydantic found; `file` is where the values came from."""
    first = error.errors(include_url=False)[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        problem = Message("unknown key{suggestion}", suggestion=_suggestion(key))
    else:
        message = str(first["msg"]).removeprefix("Value error, ")
        message = re.sub(r"^(Input|String|List) (?=should )", "", message)
        given = first["input"]
        known = isinstance(given, str | int | float | bool)
        shown = f" (got {repr(given)[:_LONGEST]})" if known else ""
        problem = Message(
            "{message}" if first["type"] == "value_error" else "{message}{shown}",
            message=message,
            shown=shown,
        )
    return Message(
        "{where}{key}: {problem}", where=_where(file, location), key=key, problem=problem
    )


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
    return f"{file}:{line_number}: " if line_number else ""


if __name__ == "__main__":
    from lmm_tui.engine.config.run_config import RunConfig

    try:
        RunConfig.model_validate({"train": {"stepz": 20}})
    except ValidationError as error:
        print(validation_message(error, None))
    print("=== 自测通过 ===")
