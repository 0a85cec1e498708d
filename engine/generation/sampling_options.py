"""Checks the sampling options of a command against the bounds of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmm_tui.engine.config.options import lookup
from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.control_mailbox import CommandError

_SAMPLE_OPTIONS = {
    "max_tokens": "log.sample_tokens",
    "temperature": "log.temperature",
    "top_p": "log.top_p",
}
"""The options of a sample besides its prompt, and the setting whose bounds hold for each."""


def sampling(args: Mapping[str, Any], config: RunConfig, *also: str) -> dict[str, Any]:
    """`max_tokens`, `temperature` and `top_p` as far as given, checked.

    Raises CommandError for anything else; `also` are further names that its sentence lists.
    """
    options: dict[str, Any] = {}
    for name, value in args.items():
        key = _SAMPLE_OPTIONS.get(name)
        if key is None:
            raise CommandError(
                "unknown option {name}; it takes {value}",
                name=name,
                value=[*(*also, *_SAMPLE_OPTIONS)],
            )
        options[name] = lookup(with_changes(config, {key: value}), key)
    return options


if __name__ == "__main__":
    from lmm_tui.engine.config.resolve import resolve

    print(sampling({"temperature": 0.5}, resolve().completed()))
    print("=== 自测通过 ===")
