"""`section.key=value`, the argument of --set: a dotted key and a TOML value on one line."""

from __future__ import annotations

from typing import Any

import tomli_w

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.config_file import escaped
from lmm_tui.toml_text import TomlError, parse_toml


def parse_assignment(text: str) -> tuple[str, Any]:
    """`section.key=value` of --set, its value as in `parse_value`."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(
            "--set {text}: expected section.key=value, such as optim.lr=1e-3", text=text
        )
    return key, parse_value(value)


def parse_value(text: str) -> Any:
    """A TOML value; a bare word is a string."""
    try:
        return parse_toml(f"value = {text}")["value"]
    except TomlError:
        return text.strip()


def format_assignment(key: str, value: Any) -> str:
    """`section.key=value` for --set, which `parse_assignment` reads back as the same value."""
    plain = f"{key}={value}"
    if isinstance(value, str) and parse_assignment(plain) == (key, value):
        return plain
    return f"{key}={toml_value(value)}"


def toml_value(value: Any) -> str:
    """One value as TOML on a single line."""
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml_value(value[key])}" for key in value) + "}"
    return escaped(tomli_w.dumps({"value": value})).removeprefix("value = ").removesuffix("\n")


if __name__ == "__main__":
    print(parse_assignment("optim.lr=1e-3"), format_assignment("log.prompts", ["a", "b"]))
    assert parse_assignment("data.source=my file.txt") == ("data.source", "my file.txt")
    print("=== 自测通过 ===")
