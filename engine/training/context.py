"""What the parts of a run's training loop share: model, data, optimisers, settings and counters.

The loop makes one context in its set-up and hands it to each part. The counters are those of the
last step that was made; a part that needs numbers of that step flushes the `StepReader` first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.device import Precision, autocast
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.parallel.ranks import Ranks
from lmm_tui.engine.parallel.spread import Spread
from lmm_tui.engine.run.events import EventLog
from lmm_tui.engine.run.run import Run
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.status_writer import StatusWriter
from lmm_tui.engine.stages.base import Stage
from lmm_tui.engine.training.observer import Observer
from lmm_tui.engine.training.optim import hyper_parameters
from lmm_tui.engine.training.step_sums import Signals
from lmm_tui.engine.training.time_budget import UNKNOWN, TimeBudget
from lmm_tui.engine.training.train_job import TrainJob
from lmm_tui.errors import LmmError
from lmm_tui.message import Message

T = TypeVar("T")


@dataclass
class TrainContext:
    run: Run
    job: TrainJob
    config: RunConfig
    """The settings in force; `change_settings` replaces them."""
    device: torch.device
    precision: Precision
    stage: Stage
    model: LanguageModel
    optimizers: list[torch.optim.Optimizer]
    scaler: torch.amp.GradScaler
    observer: Observer
    ranks: Ranks
    spread: Spread
    """The model as it stands on the ranks; losses are computed through it."""
    signals: Signals = field(default_factory=Signals)
    """What this rank tells the others with the next step."""
    step: int = 0
    """Optimiser steps made."""
    tokens: int = 0
    """Tokens seen."""
    loss: float | None = None
    val_loss: float | None = None
    val_step: int | None = None
    """The step at which `val_loss` was measured."""
    lr_scale: float = 1.0
    """Factor on the scheduled learning rate, lowered by automatic rollbacks."""
    budget: TimeBudget = field(default_factory=TimeBudget)
    agreed_s: float = 0.0
    """Of several ranks: the time that rank 0 had counted when all of them heard of it."""
    agreed_steps: int = UNKNOWN
    """The same of the steps that a run of `train.minutes` has at its pace."""
    parts: int = 1
    """How many parts each micro-batch is split into, to fit into the memory."""
    rolled_back: bool = False
    """Whether no finite step followed the last automatic rollback yet."""

    @property
    def run_dir(self) -> RunDir:
        return self.run.run_dir

    @property
    def events(self) -> EventLog:
        return self.run.events

    @property
    def status(self) -> StatusWriter:
        return self.run.status

    @property
    def total_steps(self) -> int:
        """The steps of the whole run; of one of `train.minutes` as it is estimated now."""
        train = self.config.train
        if train.minutes is None:
            return train.steps
        if self.done:
            return self.step
        if self.ranks.is_alone:
            return self.budget.total_steps(self.step, train.minutes)
        return max(self.agreed_steps, self.step + 1)

    @property
    def done(self) -> bool:
        """Whether the run has its length."""
        minutes = self.config.train.minutes
        if minutes is None:
            return self.step >= self.config.train.steps
        spent_s = self.budget.spent_s if self.ranks.is_alone else self.agreed_s
        return spent_s >= 60 * minutes

    @property
    def eta_s(self) -> float | None:
        minutes = self.config.train.minutes
        if minutes is None:
            return self.observer.speed.seconds_for(self.config.train.steps - self.step)
        return max(60 * minutes - self.budget.spent_s, 0.0)

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of forward passes."""
        return autocast(self.device, self.precision)

    def by_leader(self, do: Callable[[LanguageModel], T]) -> T:
        """What rank 0 finds out with the whole model, on all ranks; the others wait for it."""
        return self.stage.by_leader(self.model, do)

    def param_groups(self) -> Iterator[dict[str, Any]]:
        """The parameter groups of all optimisers."""
        for optimizer in self.optimizers:
            yield from optimizer.param_groups

    def zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    @contextmanager
    def activity(self, name: str) -> Iterator[None]:
        """Show work that is not a step while it lasts, and leave it out of the speed."""
        self.status.update(activity=name)
        self.ranks.beats.phase("between steps")
        try:
            with self.observer.speed.excluded():
                yield
        finally:
            self.status.update(activity="")

    def try_to(self, otherwise: str, what: Callable[[], object]) -> None:
        """Do what may fail, as for a diverged model or on a full disk, without ending the run."""
        try:
            what()
        except LmmError as error:
            text = Message("{otherwise}: {error}", otherwise=otherwise, error=error)
            self.events.write("alert", text, step=self.step, level="warning")

    def report_warnings(self) -> None:
        """Write the stage's new warnings as alerts."""
        while self.stage.warnings:  # One by one: batches are laid out in another thread.
            warning = self.stage.warnings.pop(0)
            self.events.write("alert", warning, step=self.step, level="warning")

    def change_settings(self, config: RunConfig) -> None:
        """Continue with other settings."""
        if config.optim != self.config.optim:
            wanted = hyper_parameters(self.model, config.optim, config.peak_lr)
            for group, values in zip(self.param_groups(), wanted, strict=True):
                group.update(values)
        self.config = config
        self.show_totals()

    def show_totals(self) -> None:
        """Say in the status how long the run will be."""
        steps = self.total_steps if self.step or self.config.train.minutes is None else 0
        tokens = steps * self.config.tokens_per_step
        self.status.update(total_steps=steps, total_tokens=tokens)


if __name__ == "__main__":
    from types import SimpleNamespace

    demo: Any = SimpleNamespace(optimizers=[torch.optim.SGD([torch.nn.Parameter(torch.ones(2))])])
    print(*TrainContext.param_groups(demo))
    print("=== 自测通过 ===")
