"""Reads the numbers of a step from the device, as late as possible.

On a GPU, reading waits until the step is done. So the copy of its numbers is queued with it, and
waited for when the next step is queued; a part of the loop that needs them earlier calls `flush`.
"""

from __future__ import annotations

from collections.abc import Callable

from lmm_tui.engine import device
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.observer import StepMetrics, StepTensors
from lmm_tui.engine.training.step_sums import Signals
from lmm_tui.engine.transfer import LateNumbers
from lmm_tui.message import Message


class StepReader:
    """Advances the counters of the context, logs each step and updates the status."""

    def __init__(self, context: TrainContext) -> None:
        self._context = context
        self._on_read: list[Callable[[StepMetrics], None]] = []
        self._pending: tuple[StepTensors, LateNumbers] | None = None
        self._write_error = ""
        self.said = Signals()
        """What the ranks said with the step that was read last."""

    def on_read(self, called: Callable[[StepMetrics], None]) -> None:
        """Call it with the numbers of each step, as soon as they are read."""
        self._on_read.append(called)

    def push(self, numbers: StepTensors) -> None:
        """Take over the step that was just made; reads the one before it."""
        context = self._context
        values = numbers.read_later()
        self.flush()
        context.observer.speed.step(numbers.tokens - context.tokens)
        context.step, context.tokens = numbers.step, numbers.tokens
        context.status.update(step=numbers.step, tokens=numbers.tokens)
        self._pending = numbers, values

    def flush_if_free(self) -> None:
        """Read the last step where that does not wait for a device."""
        if not device.is_asynchronous(self._context.device):
            self.flush()

    def flush(self) -> None:
        """Read the numbers of the last step, if they are not read yet."""
        if self._pending is None:
            return
        (numbers, values), self._pending = self._pending, None
        context = self._context
        reading = context.observer.record_step(numbers, values, context.config.log.every)
        context.loss = reading.loss
        self._take(reading.signals)
        self._report_write_errors()
        for called in self._on_read:
            called(reading)
        speed = context.observer.speed
        summed_up = context.stage.info.summary
        context.status.update(
            loss=reading.loss,
            numbers={name: reading.stats[name] for name in summed_up if name in reading.stats},
            tokens_per_s=speed.tokens_per_s,
            eta_s=context.eta_s,
        )
        if context.config.train.minutes is not None:
            context.show_totals()

    def _take(self, signals: Signals | None) -> None:
        """Of several ranks: what they said, once; rank 0 keeps the time for all."""
        if signals is None:
            return
        context, self.said = self._context, signals
        context.agreed_s, context.agreed_steps = signals.spent_s, signals.total_steps
        if not context.ranks.leads:
            context.budget.spent_s = signals.spent_s
        elif signals.stops and not context.run.commands.stop:
            context.run.commands.mailbox.send("stop")

    def conclude(self) -> None:
        """Say what became of rows that waited, once the file of metrics is closed."""
        self._report_write_errors()
        if lost := self._context.observer.lost_rows:
            text = Message("{lost:,} rows of metrics could not be written and are lost", lost=lost)
            self._context.events.write("alert", text, step=self._context.step, level="error")

    def _report_write_errors(self) -> None:
        """Write one alert when metrics can no longer be written, and one when they can again."""
        context, error = self._context, self._context.observer.write_error
        if error and not self._write_error:
            text = Message(
                "metrics cannot be written ({error}): rows wait in memory until they can",
                error=error,
            )
            context.events.write("alert", text, step=context.step, level="error")
        elif self._write_error and not error:
            text = Message("metrics are written again, with those that waited")
            context.events.write("alert", text, step=context.step)
        self._write_error = error


if __name__ == "__main__":
    from types import SimpleNamespace
    from typing import Any

    observer = SimpleNamespace(write_error="disk full", lost_rows=3)
    context: Any = SimpleNamespace(observer=observer, step=1)
    context.events = SimpleNamespace(write=lambda kind, text, **about: print(kind, text))
    StepReader(context).conclude()
    print("=== 自测通过 ===")
