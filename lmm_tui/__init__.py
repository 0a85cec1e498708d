"""lmm-tui: a terminal cockpit that watches and steers the training of small language models.

These names are for other people's scripts. Each is imported when it is first used, so that
`import lmm_tui` costs next to nothing and loads neither numpy nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmm_tui.engine.instrument.hf_callback import lmm_callback
    from lmm_tui.engine.instrument.lightning_callback import lmm_lightning
    from lmm_tui.engine.instrument.script_run import lmm_run
    from lmm_tui.engine.run.reader import Reader
    from lmm_tui.errors import LmmError
    from lmm_tui.metrics.deep.deep_probe import DeepProbe
    from lmm_tui.metrics.probes import ModelProbe
    from lmm_tui.metrics.tracker import TrainingTracker

__version__ = "0.2.0"

__all__ = [
    "DeepProbe",
    "LmmError",
    "ModelProbe",
    "Reader",
    "TrainingTracker",
    "__version__",
    "lmm_callback",
    "lmm_lightning",
    "lmm_run",
]

_MODULES = {
    "DeepProbe": "lmm_tui.metrics.deep.deep_probe",
    "LmmError": "lmm_tui.errors",
    "ModelProbe": "lmm_tui.metrics.probes",
    "Reader": "lmm_tui.engine.run.reader",
    "TrainingTracker": "lmm_tui.metrics.tracker",
    "lmm_callback": "lmm_tui.engine.instrument.hf_callback",
    "lmm_lightning": "lmm_tui.engine.instrument.lightning_callback",
    "lmm_run": "lmm_tui.engine.instrument.script_run",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
