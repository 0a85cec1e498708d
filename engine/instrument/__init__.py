"""The cockpit for other training scripts: `lmm_run`, Hugging Face, Lightning.

The three functions are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmm_tui.engine.instrument.hf_callback import lmm_callback
    from lmm_tui.engine.instrument.lightning_callback import lmm_lightning
    from lmm_tui.engine.instrument.script_run import lmm_run

__all__ = ["lmm_callback", "lmm_lightning", "lmm_run"]

_MODULES = {
    "lmm_callback": "hf_callback",
    "lmm_lightning": "lightning_callback",
    "lmm_run": "script_run",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
