"""The cockpit for Hugging Face's Trainer: a callback that logs, pauses, saves and stops.

transformers is imported when the callback is created, by which time the script has imported it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmm_tui.engine.instrument.own_paths import resumed_path, unused_path
from lmm_tui.engine.instrument.script_run import ScriptRun, SilentRun, lmm_run
from lmm_tui.engine.library_import import import_quietly
from lmm_tui.message import Message

if TYPE_CHECKING:
    from transformers import TrainerCallback

_log = logging.getLogger("engine")

_SUMMARY = "train_runtime"
"""A key of the Trainer's final summary, whose means over all steps belong to no step."""


def lmm_callback(path: Path | str, **options: Any) -> TrainerCallback:
    """A callback that records the training as a run in the directory `path`.

    `options` are those of `lmm_run`. A training that resumes from a checkpoint continues an
    existing run; another `train()` of the same Trainer is a run of its own, `mine-2`. What
    `evaluate()` finds before or after a training belongs to its first or last step.
    """
    import_quietly("transformers.trainer_callback")
    from transformers import TrainerCallback

    given_path = Path(path).absolute()

    class LmmCallback(TrainerCallback):
        """Logs the Trainer's logs, and a row with the speed every step, on every rank."""

        def __init__(self) -> None:
            self._run: ScriptRun | SilentRun | None = None
            self._training = False
            self._save = False
            self._before: dict[str, float] = {}

        def on_train_begin(
            self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
        ) -> None:
            last = self._run.run_dir.path if isinstance(self._run, ScriptRun) else given_path
            resume = state.global_step > 0 and (last / "run.json").exists()
            given: dict[str, Any] = {
                "model": type(model).__name__,
                "checkpoint": self._request_save,
                "rank": args.process_index,
                **options,
            }
            at = resumed_path(last) if resume else unused_path(given_path)
            self._run = lmm_run(at, state.max_steps, **{"resume": resume, **given})
            self._training = True
            if self._before:
                self._run.log(self._before, step=state.global_step)
                self._before = {}

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            assert self._run is not None
            self._run.log(step=state.global_step, tokens=_tokens(state))
            control.should_training_stop |= self._run.should_stop
            control.should_save |= self._save
            self._save = False
            return control

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not logs or _SUMMARY in logs:
                return
            numbers = _numbers(logs)
            if self._run is None:
                self._before |= numbers
                level = logging.WARNING if args.process_index == 0 else logging.DEBUG
                _log.log(level, "evaluate() before train(): kept for the first row of the run")
            elif self._training:
                self._run.log(numbers, step=state.global_step, tokens=_tokens(state))
            else:
                self._run.log(numbers, step=self._run.step)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._training = False
            if self._run is not None:
                self._run.close()

        def _request_save(self) -> str:
            self._save = True
            return Message("by the Trainer, after this step")

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
