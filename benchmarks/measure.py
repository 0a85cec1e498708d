"""Alternating measurements, and the one line that each limit is printed as.

Machines drift by a factor of two within minutes, so ours and the baseline are measured in
alternation and only their ratio is held to a limit.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping

QUICK = bool(os.environ.get("BENCHMARKS_QUICK"))
"""Whether the figures may mean nothing: only whether a case works is wanted."""


def rounds(full: int) -> int:
    """How many repetitions to take where `full` are needed for a figure."""
    return min(full, 2) if QUICK else full


def medians(
    measurements: Mapping[str, Callable[[], float]], repetitions: int, *, warm_up: bool = True
) -> dict[str, float]:
    """The median of each measurement; they alternate, and a round of warm-up is left out."""
    taken: dict[str, list[float]] = {name: [] for name in measurements}
    for attempt in range(-int(warm_up), rounds(repetitions)):
        for name, measurement in measurements.items():
            value = measurement()
            if attempt >= 0:
                taken[name].append(value)
    return {name: statistics.median(values) for name, values in taken.items()}


def seconds(call: Callable[[], object]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def report(
    what: str,
    ours: float,
    baseline: float,
    of: str,
    *,
    unit: str = "s",
    at_most: float | None = None,
    at_least: float | None = None,
) -> None:
    """Print both figures, their ratio, the limit on it and PASS or FAIL.

    `of` names the baseline. The ratio is ours / baseline.
    """
    ratio = ours / baseline
    if at_most is not None:
        passed, limit = ratio <= at_most, f"<= {at_most:g}"
    else:
        assert at_least is not None
        passed, limit = ratio >= at_least, f">= {at_least:g}"
    print(
        f"{what:<38} {ours:9.4g} {unit}, {of} {baseline:.4g} {unit}  ratio {ratio:.3g}  "
        f"limit {limit}  {'PASS' if passed else 'FAIL'}",
        flush=True,
    )


def report_count(what: str, found: int, wanted: int) -> None:
    """Print a figure that no machine changes, and PASS or FAIL."""
    verdict = "PASS" if found == wanted else "FAIL"
    print(f"{what:<38} {found:9,}  wanted {wanted:,}  {verdict}", flush=True)
