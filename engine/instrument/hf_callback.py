"""The cockpit for Hugging Face's Trainer: a callback that logs, pauses, saves and stops.

transformers is imported when the callback is created, by which time the script has imported it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmm_tui.engine.instrument.script_run import ScriptRun, SilentRun, lmm_run

if TYPE_CHECKING:
    from transformers import TrainerCallback

_SUMMARY = "train_runtime"
"""A key of the Trainer's final summary, whose means over all steps belong to no step."""


def lmm_callback(path: Path | str, **options: Any) -> TrainerCallback:
    """A callback that records the training as a run in the directory `path`.

    `options` are those of `lmm_run`. A training that resumes from a checkpoint continues an
    existing run.
    """
    from transformers import TrainerCallback

    class LmmCallback(TrainerCallback):
        """Logs the Trainer's logs, and a row with the speed every step."""

        def __init__(self) -> None:
            self._run: ScriptRun | SilentRun | None = None
            self._save = False

        def on_train_begin(
            self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
        ) -> None:
            given = {"model": type(model).__name__, "checkpoint": self._request_save, **options}
            resume = state.global_step > 0 and Path(path, "run.json").exists()
            self._run = lmm_run(path, state.max_steps, resume=resume, **given)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            assert self._run is not None
            self._run.log(step=state.global_step, tokens=_tokens(state))
            control.should_training_stop |= self._run.should_stop
            control.should_save |= self._save
            self._save = False
            return control

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if self._run is not None and logs and _SUMMARY not in logs:
                self._run.log(_numbers(logs), step=state.global_step, tokens=_tokens(state))

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self._run is not None:
                self._run.close()
                self._run = None

        def _request_save(self) -> str:
            self._save = True
            return "by the Trainer, after this step"

    return LmmCallback()


def _tokens(state: Any) -> int | None:
    """None if the Trainer does not count tokens."""
    seen = getattr(state, "num_input_tokens_seen", 0)
    return int(seen) if seen else None


def _numbers(logs: dict[str, Any]) -> dict[str, float]:
    return {
        name: value
        for name, value in logs.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


if __name__ == "__main__":
    print(_numbers({"loss": 2.5, "epoch": 1, "note": "text"}))
    print("=== 自测通过 ===")
