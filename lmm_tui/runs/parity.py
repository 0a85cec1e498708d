"""Trains the same run on several numbers of ranks, and says how far their losses are apart.

A step sees the same rows on any number of ranks, so what differs is the order of sums: about 1e-6
in fp32, more in bf16. Much more than that is a fault, such as a stage that does not use the ranks
it is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmm_tui.engine.config.even_shares import refuse_uneven
from lmm_tui.engine.config.resolve import with_changes
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.run.reader import Reader
from lmm_tui.errors import LmmError
from lmm_tui.metrics.names import TRAIN_LOSS
from lmm_tui.runs.detached import start


class ParityError(LmmError):
    """Runs that cannot be compared."""


@dataclass(frozen=True)
class Difference:
    """Of a run on `ranks` ranks from the first one."""

    ranks: int
    run: Path
    loss: float
    """The largest difference of the training loss of a step, in nats."""
    step: int
    """Where it is."""


def compare(config: RunConfig, counts: Sequence[int], folder: Path) -> list[Difference]:
    """Train a run in `folder` on each number of ranks; the first is what the others differ from.

    Raises ParityError where one does not end well, LmmError where it is refused.
    """
    for count in counts:
        refuse_uneven(config, count)
    curves: list[dict[int, float]] = []
    found: list[Difference] = []
    for count in counts:
        run = _trained(config, count, folder)
        curves.append(_losses(run))
        loss, step = _largest(curves[0], curves[-1])
        found.append(Difference(count, run, loss, step))
    return found


def _trained(config: RunConfig, count: int, folder: Path) -> Path:
    name = f"ranks-{count}"
    changes = {"parallel.ranks": count, "log.every": 1, "log.sample_every": 0, "eval.every": 0}
    chosen = with_changes(config, changes)
    begun = start(chosen.model_copy(update={"name": name, "runs_dir": str(folder)}))
    begun.process.wait()
    status = Reader(begun.run.path).view.status
    if status.state != "finished":
        raise ParityError(
            "{run}: the run on {count} ranks {state} at step {step}: {error}",
            run=begun.run.path,
            count=count,
            state=status.state,
            step=status.step,
            error=status.error,
        )
    return begun.run.path


def _losses(run: Path) -> dict[int, float]:
    reader = Reader(run)
    reader.poll()
    series = reader[TRAIN_LOSS]
    return dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def _largest(first: Mapping[int, float], other: Mapping[int, float]) -> tuple[float, int]:
    """The largest difference and its step; one that is not finite alone counts as infinite."""
    apart = {step: _apart(loss, other.get(step)) for step, loss in first.items()}
    step = max(apart, key=lambda at: apart[at])
    return apart[step], step


def _apart(loss: float, other: float | None) -> float:
    if other is None:
        return math.inf
    if loss == other or (math.isnan(loss) and math.isnan(other)):
        return 0.0
    gap = abs(loss - other)
    return math.inf if math.isnan(gap) else gap


if __name__ == "__main__":
    print(_largest({1: 2.5, 2: 2.25}, {1: 2.5, 2: 2.5}))
    assert _largest({1: 2.5}, {}) == (math.inf, 1)
    print("=== 自测通过 ===")
