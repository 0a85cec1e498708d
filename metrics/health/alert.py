"""An alert: the start of an episode in which a rule finds something."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from lmm_tui.metrics.values import strict

Severity = Literal["notice", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("notice", "warning", "error")


@dataclass(frozen=True)
class Alert:
    """The start of an episode of one rule, in one layer or for the whole run."""

    step: int
    rule: str
    severity: Severity
    what: str
    suspect: str
    advice: str
    values: dict[str, float]
    where: str = ""

    def record(self) -> dict[str, Any]:
        """As strict JSON: non-finite numbers are strings."""
        record: dict[str, Any] = strict(asdict(self))
        return record


if __name__ == "__main__":
    print(
        Alert(7, "loss_spike", "warning", "loss is inf", "s", "a", {"loss": float("inf")}).record()
    )
    print("=== 自测通过 ===")
