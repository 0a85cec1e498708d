"""The metrics of a script: its rows under our names, its speed, and its status.

Names that other programs use (`loss`, `eval_loss`, `lr`) become ours (`train/loss`), and what
follows from a number (perplexity, moving average, tokens/s) is added by the tracker. What the
process uses of its machine is in a row a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from lmm_tui.engine.instrument.system_meter import SystemMeter
from lmm_tui.engine.instrument.whole_numbers import InstrumentError
from lmm_tui.engine.run.status_writer import StatusWriter
from lmm_tui.metrics import names
from lmm_tui.metrics.readers.metric_names import MetricNamer
from lmm_tui.metrics.step.speed import SpeedMeter
from lmm_tui.metrics.tracker import Scalar, TrainingTracker


class ScriptMetrics:
    """Writes the rows of one run and keeps its status up to date."""

    def __init__(self, tracker: TrainingTracker, status: StatusWriter) -> None:
        self.write_to(tracker, status)
        self._speed = SpeedMeter()
        self._namer = MetricNamer()
        self._system = SystemMeter()
        self._last_steps: dict[str, int] = {}

    def write_to(self, tracker: TrainingTracker, status: StatusWriter) -> None:
        self._tracker, self._status = tracker, status

    def excluded(self) -> AbstractContextManager[None]:
        """Time inside does not count as training time."""
        return self._speed.excluded()

    def log(
        self, numbers: Mapping[str, Scalar], step: int | None, tokens: int | None
    ) -> dict[str, float]:
        """Write the row of a step, by default the next one, and return it."""
        before = self._tracker.step, self._tracker.tokens
        ours = self._update(numbers)
        for name, value in self._system.read().items():
            if name not in ours:
                self._tracker.update(name, value)
        at = before[0] + 1 if step is None else step
        if at > before[0]:
            self._speed.step(0 if tokens is None else tokens - before[1])
            self._tracker.update_speed(*self._pace(at - before[0], tokens))
        self._last_steps.update(dict.fromkeys(ours, at))
        return self._write(at, tokens)

    def log_late(self, numbers: Mapping[str, Scalar], step: int) -> None:
        """Add numbers to the row of an earlier step, which keeps what it has, as do later rows."""
        ours = self._update(numbers)
        for name in ours:
            if self._last_steps.get(name, -1) > step:
                self._tracker.discard()
                raise InstrumentError(
                    "step {step}: {name} was logged at step {last_steps} before, "
                    "and steps must not decrease; count them on, or log another "
                    "run",
                    step=step,
                    name=name,
                    last_steps=self._last_steps[name],
                )
        self._last_steps.update(dict.fromkeys(ours, step))
        row = self._tracker.log_late(step)
        if names.VAL_LOSS in row:
            self._status.update(val_loss=row[names.VAL_LOSS])

    def amend(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Add numbers to the row of the current step, which is already written."""
        self._update(numbers)
        return self._write(self._status.status.step, None)

    def _update(self, numbers: Mapping[str, Scalar]) -> list[str]:
        """Our names of the numbers. Raises InstrumentError, and takes none, if one is no number."""
        ours = self._namer.names(list(numbers))
        for name, value in zip(ours, numbers.values(), strict=True):
            split, _, kind = name.rpartition("/")
            try:
                if kind == "loss" and split in ("train", "val"):
                    self._tracker.update_loss(value, split)
                elif name == names.GRAD_NORM:
                    self._tracker.update_grad_norm(value)
                else:
                    self._tracker.update(name, value)
            except (TypeError, ValueError, RuntimeError):
                self._tracker.discard()
                raise InstrumentError(
                    "{name}: is {value!r:.80}; expected a number", name=name, value=value
                ) from None
        return ours

    def _pace(self, steps: int, tokens: int | None) -> tuple[float | None, float | None]:
        """Steps and tokens a second, if there is one row every `steps` steps."""
        rows_per_s = self._speed.steps_per_s
        return (
            rows_per_s * steps if rows_per_s else None,
            self._speed.tokens_per_s if tokens is not None else None,
        )

    def _write(self, step: int, tokens: int | None) -> dict[str, float]:
        row = self._tracker.log(step, tokens)
        status = self._status.status
        steps_per_s = row.get(names.STEPS_PER_S)
        left = max(status.total_steps - step, 0)
        self._status.update(
            step=step,
            tokens=self._tracker.tokens,
            loss=row.get(names.TRAIN_LOSS, status.loss),
            val_loss=row.get(names.VAL_LOSS, status.val_loss),
            tokens_per_s=row.get(names.TOKENS_PER_S, status.tokens_per_s),
            eta_s=left / steps_per_s if steps_per_s else status.eta_s,
        )
        return row


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.run.run_dir import RunDir

    with tempfile.TemporaryDirectory() as folder, TrainingTracker(folder) as tracker:
        writer = StatusWriter(RunDir(folder), RunDir(folder).read_status())
        print(ScriptMetrics(tracker, writer).log({"loss": 2.0, "lr": 1e-3}, step=None, tokens=64))
        writer.close()
    print("=== 自测通过 ===")
