"""What health costs: all rules over a long run at once, and over a row as it is logged."""

from __future__ import annotations

import time

import numpy as np

from lmm_tui.metrics import names
from lmm_tui.metrics.health.alerts import Health
from lmm_tui.metrics.health.scan import examine
from lmm_tui.metrics.series.growing_array import Floats
from lmm_tui.metrics.series.rows import rows_of
from lmm_tui.metrics.series.series import SeriesStore

TITLE = "health: all rules over a million steps of 20 metrics, and over one row"

_LEVELS = {"ln V": 6.93, "unigram": 5.5, "bigram": 3.1}


def healthy_store(steps: int) -> SeriesStore:
    """Twenty noisy series of a run that learns, among them twelve layers' gradients."""
    rng = np.random.default_rng(0)
    at = np.arange(1, steps + 1)

    def noise(scale: float) -> Floats:
        return rng.normal(0, scale, steps)

    columns = {
        names.TRAIN_LOSS: 2.2 + 4.73 * np.exp(-at / 150) + noise(0.05),
        names.TRAIN_LOSS_EMA: 2.2 + 4.73 * np.exp(-at / 150),
        names.LR: np.full(steps, 1e-3),
        names.GRAD_NORM: 1.5 * np.exp(noise(0.3)),
        names.CLIP_RATE: np.ones(steps),
        names.TOKENS_PER_S: 5000 + noise(200),
        names.STEPS_PER_S: 5 + noise(0.2),
    }
    columns |= {f"grad/layers.{layer}": 0.3 * np.exp(noise(0.3)) for layer in range(12)}
    store = SeriesStore()
    held_out = np.arange(99, steps, 100)
    values = columns[names.TRAIN_LOSS][held_out] + 0.1
    block = {name: (None, column) for name, column in columns.items()}
    store.extend(at, block | {names.VAL_LOSS: (held_out, values)}, 1e9 + at)
    return store


def run() -> None:
    store = healthy_store(1_000_000)
    begun = time.perf_counter()
    health = Health(baselines=_LEVELS)
    examine(store, health)
    seconds = time.perf_counter() - begun
    print(f"{len(store):,} rows of {len(store.names())} metrics: {health.verdict()}")
    good = seconds <= 1.0 and not health.alerts
    print(f"limit 1 s for all rows  measured {seconds:.2f} s  {'PASS' if good else 'FAIL'}")

    rows = [(step, row) for step, _, row in rows_of(healthy_store(20_000))]
    taken = []
    for _ in range(5):
        health = Health(baselines=_LEVELS)
        begun = time.perf_counter()
        for step, row in rows:
            health.observe(step, row)
        taken.append((time.perf_counter() - begun) / len(rows) * 1e6)
    micros = min(taken)  # Others on the machine only ever add to it.
    print(f"limit 20 µs a row  measured {micros:.1f} µs  {'PASS' if micros <= 20 else 'FAIL'}")


if __name__ == "__main__":
    run()
