"""How a series is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher", "neither"]


@dataclass(frozen=True)
class MetricName:
    """How a series is shown: its title, the unit of its values, whether its y axis is log.

    `layer` is what a number of one layer was measured in, such as `layers.3`.
    """

    title: str
    unit: str = ""
    log: bool = False
    better: Better = "neither"
    layer: str = ""

    @property
    def whole(self) -> str:
        """The title with the layer."""
        return f"{self.title} · {self.layer}" if self.layer else self.title


if __name__ == "__main__":
    print(MetricName("loss", "nats", better="lower"))
    print("=== 自测通过 ===")
