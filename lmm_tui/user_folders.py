"""The user's folders: settings, state and caches, after the XDG Base Directory specification.

On macOS, too: that is where people look for the settings of a program of the terminal.
"""

from __future__ import annotations

from pathlib import Path

from platformdirs.unix import Unix

_FOLDERS = Unix("lmm-tui")


def user_settings() -> Path:
    """`$XDG_CONFIG_HOME/lmm-tui`, by default `~/.config/lmm-tui`; it need not exist."""
    return _FOLDERS.user_config_path


def user_state() -> Path:
    """`$XDG_STATE_HOME/lmm-tui`, by default `~/.local/state/lmm-tui`; it need not exist."""
    return _FOLDERS.user_state_path


def user_cache() -> Path:
    """`$XDG_CACHE_HOME/lmm-tui`, by default `~/.cache/lmm-tui`; it need not exist."""
    return _FOLDERS.user_cache_path


if __name__ == "__main__":
    import os

    os.environ["XDG_CONFIG_HOME"] = "/settings"
    print(user_settings(), user_state(), user_cache(), sep="\n")
    assert user_settings() == Path("/settings/lmm-tui")
    print("=== 自测通过 ===")
