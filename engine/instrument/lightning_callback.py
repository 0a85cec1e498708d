"""The cockpit for Lightning: a logger that writes the run's rows, a callback for commands.

Lightning is not a dependency: it is imported when they are created, as `lightning` or as
`pytorch_lightning`.
"""

from __future__ import annotations

import math
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lmm_tui.engine.instrument.script_run import ScriptRun, SilentRun, lmm_run
from lmm_tui.errors import LmmError

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


class NoLightningError(LmmError):
    """Neither package of Lightning is installed."""


def lmm_lightning(path: Path | str, **options: Any) -> tuple[Any, Any]:
    """A `Logger` and a `Callback` for one `Trainer`, which record its fit as a run in `path`.

    `options` are those of `lmm_run`. Raises NoLightningError if Lightning is missing.
    """
    package = next((name for name in _PACKAGES if find_spec(name.partition(".")[0])), None)
    if package is None:
        raise NoLightningError("lightning is not installed; pip install lightning")
    logger_base = import_module(f"{package}.loggers").Logger
    callback_base = import_module(f"{package}.callbacks").Callback
    runs: list[ScriptRun | SilentRun] = []

    class LmmLogger(logger_base):  # type: ignore[valid-type,misc]
        """Writes what the module logs, at Lightning's steps."""

        @property
        def name(self) -> str:
            return Path(path).name

        @property
        def version(self) -> str:
            return ""

        def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
            """Not recorded: Lightning saves them in its own files."""

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            for run in runs:
                # A validation may be logged at the previous step, but steps must not decrease.
                run.log(metrics, step=max(run.step, run.step if step is None else step))

    class LmmLightningCallback(callback_base):  # type: ignore[valid-type,misc]
        """Starts and ends the run, and checks for commands after each batch."""

        def on_fit_start(self, trainer: Any, module: Any) -> None:
            def save() -> str:
                to = Path(path) / "lightning" / f"step-{trainer.global_step:09d}.ckpt"
                trainer.save_checkpoint(to)
                return to.name

            total = trainer.estimated_stepping_batches
            steps = int(total) if math.isfinite(total) and total > 0 else 0
            given = {"model": type(module).__name__, "checkpoint": save, **options}
            runs.append(lmm_run(path, steps, **given))

        def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
            trainer.should_stop |= any(run.should_stop for run in runs)

        def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
            _close(exception)

        def teardown(self, trainer: Any, module: Any, stage: str) -> None:
            _close(None)

    def _close(error: BaseException | None) -> None:
        while runs:
            runs.pop().close(error)

    return LmmLogger(), LmmLightningCallback()


if __name__ == "__main__":
    try:
        print(*(type(part).__mro__[1].__name__ for part in lmm_lightning("runs/demo")))
    except NoLightningError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
