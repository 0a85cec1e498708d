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

from lmm_tui.engine.instrument.own_paths import resumed_path, unused_path
from lmm_tui.engine.instrument.script_run import ScriptRun, SilentRun, lmm_run
from lmm_tui.errors import LmmError

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


class NoLightningError(LmmError):
    """Neither package of Lightning is installed."""


def lmm_lightning(path: Path | str, **options: Any) -> tuple[Any, Any]:
    """A `Logger` and a `Callback` for one `Trainer`, which record its fit as a run in `path`.

    `options` are those of `lmm_run`. A fit that continues at a later step continues an existing
    run; another one from the start is a run of its own, `mine-2`. What `validate()` and `test()`
    find after a fit belongs to its last step. Raises NoLightningError if Lightning is missing.
    """
    package = next((name for name in _PACKAGES if find_spec(name.partition(".")[0])), None)
    if package is None:
        raise NoLightningError("lightning is not installed; pip install lightning")
    logger_base = import_module(f"{package}.loggers").Logger
    callback_base = import_module(f"{package}.callbacks").Callback
    given_path = Path(path).absolute()
    runs: list[ScriptRun | SilentRun] = []
    """At most one: that of the last fit."""
    fitting: list[Any] = []
    """The trainer of that fit."""
    before: dict[str, float] = {}
    """What was logged before the first fit."""

    class LmmLogger(logger_base):  # type: ignore[valid-type,misc]
        """Writes what the module logs, at the optimiser steps done by then.

        Lightning says a batch's numbers belong to the steps before it, so that a fit of six ends
        with step 5.
        """

        @property
        def name(self) -> str:
            return given_path.name

        @property
        def version(self) -> str:
            return ""

        def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
            """Not recorded: Lightning saves them in its own files."""

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            if not runs:
                before.update(metrics)
            for run, trainer in zip(runs, fitting, strict=True):
                ended = isinstance(run, ScriptRun) and run.closed
                run.log(metrics, step=run.step if ended else max(run.step, trainer.global_step))

    class LmmLightningCallback(callback_base):  # type: ignore[valid-type,misc]
        """Starts and ends the run, and checks for commands after each batch, on every rank."""

        def on_train_start(self, trainer: Any, module: Any) -> None:
            last = next((run for run in runs if isinstance(run, ScriptRun)), None)
            earlier = last.run_dir.path if last else given_path
            resume = trainer.global_step > 0 and (earlier / "run.json").exists()
            path = resumed_path(earlier) if resume else unused_path(given_path)

            def save() -> str:
                to = path / "lightning" / f"step-{trainer.global_step:09d}.ckpt"
                trainer.save_checkpoint(to)
                return to.name

            total = trainer.estimated_stepping_batches
            given: dict[str, Any] = {
                "model": type(module).__name__,
                "checkpoint": save,
                "rank": trainer.global_rank,
                "resume": resume,
                **options,
            }
            steps = int(total) if math.isfinite(total) and total > 0 else 0
            runs[:], fitting[:] = [lmm_run(path, steps, **given)], [trainer]
            if before:
                runs[0].log(before, step=trainer.global_step)
                before.clear()

        def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
            trainer.should_stop |= any(run.should_stop for run in runs)

        def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
            for run in runs:
                run.close(exception)

        def teardown(self, trainer: Any, module: Any, stage: str) -> None:
            for run in runs:
                run.close()

    return LmmLogger(), LmmLightningCallback()


if __name__ == "__main__":
    try:
        print(*(type(part).__mro__[1].__name__ for part in lmm_lightning("runs/demo")))
    except NoLightningError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
