"""Runs ranked by a result, those that differ only in their seed as one, with an error bar."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Student's t, 97.5 %, for 1 to 30 degrees of freedom: the bar holds the mean in 95 % of cases.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_T_OF_MANY = 1.960


@dataclass(frozen=True)
class RankedRuns:
    """Runs of the same settings: their names, the mean of their finite results, its 95 % bar.

    `bar` is half of the interval; None for one run, whose spread is not known.
    """

    names: tuple[str, ...]
    settings: tuple[Any, ...]
    mean: float
    bar: float | None


def is_seed(key: str) -> bool:
    """Whether a setting only draws other random numbers."""
    return key.rpartition(".")[2] == "seed"


def ranked(
    results: Mapping[str, float | None],
    settings: Mapping[str, Mapping[str, Any]],
    keys: Sequence[str],
    *,
    higher: bool = False,
) -> list[RankedRuns]:
    """Runs by name, grouped by `keys` other than seeds, the best mean first.

    Runs without a finite result are left out.
    """
    shown = [key for key in keys if not is_seed(key)]
    groups: dict[str, tuple[tuple[Any, ...], list[str], list[float]]] = {}
    for name, value in results.items():
        if value is None or not math.isfinite(value):
            continue
        point = tuple(settings[name].get(key) for key in shown)
        _, names, values = groups.setdefault(repr(point), (point, [], []))
        names.append(name)
        values.append(value)
    found = [
        RankedRuns(tuple(names), point, statistics.fmean(values), _bar(values))
        for point, names, values in groups.values()
    ]
    return sorted(found, key=lambda one: -one.mean if higher else one.mean)


def _bar(values: Sequence[float]) -> float | None:
    """Half of the 95 % interval of the mean (Student 1908)."""
    freedom = len(values) - 1
    if not freedom:
        return None
    factor = _T[freedom - 1] if freedom <= len(_T) else _T_OF_MANY
    return factor * statistics.stdev(values) / math.sqrt(len(values))


if __name__ == "__main__":
    lrs = {"a": 1e-3, "b": 1e-3, "c": 3e-3}
    found = ranked(
        {"a": 2.0, "b": 2.2, "c": 1.9},
        {name: {"optim.lr": lr, "train.seed": name} for name, lr in lrs.items()},
        ["optim.lr", "train.seed"],
    )
    print(*found, sep="\n")
    assert [one.names for one in found] == [("c",), ("a", "b")]
    print("=== 自测通过 ===")
