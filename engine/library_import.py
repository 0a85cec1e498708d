"""Imports libraries that import torchao, which speaks where it is installed.

It tells of its kernels for cards that are not there, and torch of how it registers its enums:
nothing that the one who trains can do anything about.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from importlib import import_module

_SPEAKERS = ("torchao", "torch.utils._pytree")


def import_quietly(name: str) -> None:
    """Import a module, so that an import statement says nothing; all other logging stays."""
    with ExitStack() as undo:
        for speaker in map(logging.getLogger, _SPEAKERS):
            speaker.addFilter(_drop)
            undo.callback(speaker.removeFilter, _drop)
        import_module(name)


def _drop(record: logging.LogRecord) -> bool:
    return False


if __name__ == "__main__":
    import_quietly("json.tool")
    assert not logging.getLogger("torchao").filters
    print("=== 自测通过 ===")
