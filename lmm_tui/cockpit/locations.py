"""Paths of the settings of the cockpit, after the XDG Base Directory specification."""

from __future__ import annotations

import os
from pathlib import Path


def config_file(name: str) -> Path:
    """A file in `$XDG_CONFIG_HOME/lmm-tui`, by default `~/.config/lmm-tui`; it need not exist."""
    home = os.environ.get("XDG_CONFIG_HOME")
    base = Path(home) if home else Path.home() / ".config"
    return base / "lmm-tui" / name


if __name__ == "__main__":
    os.environ["XDG_CONFIG_HOME"] = "/settings"
    print(config_file("state.json"))
    assert config_file("keys.toml") == Path("/settings/lmm-tui/keys.toml")
    print("=== 自测通过 ===")
