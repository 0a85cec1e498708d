"""Pinned metrics, which the dashboard shows first and in order, and hidden ones."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class PinnedMetrics:
    """Names of metrics; methods return a changed copy."""

    pinned: tuple[str, ...] = ()
    hidden: frozenset[str] = frozenset()

    def pin(self, metric: str) -> PinnedMetrics:
        """Pin a metric, or unpin it."""
        kept = tuple(name for name in self.pinned if name != metric)
        return replace(self, pinned=(*kept, metric) if kept == self.pinned else kept)

    def move(self, metric: str, by: int) -> PinnedMetrics:
        """Move a pinned metric by so many positions."""
        if metric not in self.pinned:
            return self
        others = [name for name in self.pinned if name != metric]
        place = min(max(self.pinned.index(metric) + by, 0), len(others))
        return replace(self, pinned=(*others[:place], metric, *others[place:]))

    def hide(self, metric: str) -> PinnedMetrics:
        """Hide a metric, or show it again."""
        return replace(self, hidden=self.hidden ^ {metric})


NOTHING = PinnedMetrics()

if __name__ == "__main__":
    metrics = PinnedMetrics().pin("a").pin("b").move("b", -1)
    print(metrics, metrics.hide("c"))
    assert metrics.pinned == ("b", "a") and metrics.pin("b").pinned == ("a",)
    print("=== 自测通过 ===")
