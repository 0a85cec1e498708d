"""The error of a configuration that cannot be used."""

from __future__ import annotations

from lmm_tui.errors import LmmError


class ConfigError(LmmError):
    """A configuration that cannot be used; the text names the file or flag, and the key."""


if __name__ == "__main__":
    print(ConfigError("train.steps: should be a valid integer"))
    print("=== 自测通过 ===")
