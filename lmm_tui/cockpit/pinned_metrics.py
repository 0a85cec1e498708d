"""Which metrics somebody wants to see first, in which order, and which not at all."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class PinnedMetrics:
    """Names of metrics; changes make another shelf."""

    pinned: tuple[str, ...] = ()
    hidden: frozenset[str] = frozenset()

    def pin(self, metric: str) -> PinnedMetrics:
        """Pin it, or take the pin out."""
        kept = tuple(name for name in self.pinned if name != metric)
        return replace(self, pinned=(*kept, metric) if kept == self.pinned else kept)

    def move(self, metric: str, by: int) -> PinnedMetrics:
        """Move what is pinned by so many places."""
        if metric not in self.pinned:
            return self
        others = [name for name in self.pinned if name != metric]
        place = min(max(self.pinned.index(metric) + by, 0), len(others))
        return replace(self, pinned=(*others[:place], metric, *others[place:]))

    def hide(self, metric: str) -> PinnedMetrics:
        """Hide it, or show it again."""
        return replace(self, hidden=self.hidden ^ {metric})


NOTHING = PinnedMetrics()

if __name__ == "__main__":
    shelf = PinnedMetrics().pin("a").pin("b").move("b", -1)
    print(shelf, shelf.hide("c"))
    assert shelf.pinned == ("b", "a") and shelf.pin("b").pinned == ("a",)
    print("=== 自测通过 ===")
