"""Configurations as TOML files."""

from __future__ import annotations

import tomllib
import unicodedata
from pathlib import Path
from typing import Any

import tomli_w

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.guarded_files import read_text
from lmm_tui.message import os_reason


def load_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; ConfigError with the line of a syntax error."""
    try:
        return tomllib.loads(read_text(path))
    except FileNotFoundError:
        raise ConfigError(
            "{path}: no such file; give --config an existing TOML file", path=path
        ) from None
    except OSError as error:
        raise ConfigError(
            "{path}: cannot be read ({error})", path=path, error=os_reason(error)
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            "{path}: not UTF-8 text (byte {start})", path=path, start=error.start
        ) from None
    except RecursionError:
        raise ConfigError("{path}: not valid TOML: nested too deeply", path=path) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("{path}: not valid TOML: {error}", path=path, error=error) from None


def to_toml(config: RunConfig) -> str:
    """The configuration as TOML; unset keys are omitted, since TOML has no null.

    What a terminal would obey or hide is escaped, so that the text reads back as it was.
    """
    return escaped(tomli_w.dumps(config.model_dump(exclude_none=True)))


def escaped(toml: str) -> str:
    """TOML with control and format characters of its strings as `\\uXXXX`."""
    return toml if toml.isascii() else "".join(map(_escaped, toml))


def _escaped(char: str) -> str:
    if char.isascii() or unicodedata.category(char) not in ("Cc", "Cf", "Zl", "Zp"):
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 1 << 16 else f"\\U{ord(char):08x}"


if __name__ == "__main__":
    text = to_toml(RunConfig())
    print(text)
    assert RunConfig.model_validate(tomllib.loads(text)) == RunConfig()
    print("=== 自测通过 ===")
