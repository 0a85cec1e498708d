"""What part of a run a picture shows, as a value; a gesture makes another value of it.

It knows axes and windows, and nothing of keys, mice, series or cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf, isclose, nextafter
from typing import TypeAlias

from lmm_tui.metrics.drawing.ticks import round_end
from lmm_tui.metrics.series.series import Axis, Store

Span: TypeAlias = tuple[float, float]

AXES: tuple[Axis, ...] = ("step", "tokens", "time", "epoch")
SMOOTHING = (0.0, 0.05, 0.12, 0.3)
"""Share of the points in view that is averaged around each, a level each."""

_NARROWEST = {"step": 4.0, "tokens": 4.0, "time": 1.0, "epoch": 1e-4, "flops": 1e6}
"""Nothing narrower is shown: a step has nothing inside."""
_HOPS = 8
"""Into how many hops a window that follows the run divides its width: rare, so cheap."""


@dataclass(frozen=True)
class Whole:
    """All there is on an axis: from `start` to `end`, measured up to `last`."""

    start: float
    end: float
    last: float

    @classmethod
    def of(cls, store: Store, axis: Axis, x_end: float | None = None) -> Whole:
        """The axis of a store that has rows, up to step `x_end`, or to a round number."""
        first, last = store.span(axis)
        start = first if axis == "time" else 0.0
        if axis == "step" and x_end is not None:
            end = max(x_end, last)
        else:
            end = start + round_end(last - start)
        return cls(start, max(end, start + _NARROWEST[axis]), last)

    def within(self, start: float, width: float) -> Span:
        """A window of this width, moved to where there is something."""
        start = min(max(start, self.start), max(self.end - width, self.start))
        end = start + width
        # The sum may be rounded down, and the window would be narrower than was asked for.
        return start, end if end - start >= width else nextafter(end, inf)


@dataclass(frozen=True)
class Viewport:
    """`window` is the part of the x axis that is shown, None all of it; one that `follows` moves
    with the run. `smoothing` is an index into SMOOTHING."""

    axis: Axis = "step"
    window: Span | None = None
    follows: bool = False
    smoothing: int = 0

    def span(self, whole: Whole) -> Span:
        """The window to draw."""
        if self.window is None:
            return whole.start, whole.end
        start, end = self.window
        if not self.follows:
            return start, end
        hop = (end - start) / _HOPS
        ahead = -(-(whole.last - whole.start) // hop) * hop + whole.start
        return whole.within(ahead - (end - start), end - start)

    def can_zoom(self, factor: float, whole: Whole) -> bool:
        """Whether anything is left to come nearer to, or to step back from."""
        if factor < 1:
            return self.window is not None
        start, end = self.span(whole)
        return not isclose(end - start, _NARROWEST[self.axis], rel_tol=1e-6)


Gesture: TypeAlias = Callable[[Viewport, Whole], Viewport]


def zoom(factor: float, at: float | None = None) -> Gesture:
    """Show `1 / factor` as much around `at`: unset, the live edge or else the middle."""

    def zoomed(view: Viewport, whole: Whole) -> Viewport:
        start, end = view.span(whole)
        width = max((end - start) / factor, _NARROWEST[view.axis])
        if width >= whole.end - whole.start:
            return replace(view, window=None, follows=False)
        live = at is None and (view.window is None or view.follows)
        if live:
            centre = whole.last
        else:
            centre = (start + end) / 2 if at is None or not start <= at <= end else at
        share = (centre - start) / (end - start)
        window = whole.within(centre - share * width, width)
        return replace(view, window=window, follows=live)

    return zoomed


def frame(x0: float, x1: float) -> Gesture:
    """Show what lies between two places."""

    def framed(view: Viewport, whole: Whole) -> Viewport:
        width = max(abs(x1 - x0), _NARROWEST[view.axis])
        return replace(view, window=whole.within(min(x0, x1), width), follows=False)

    return framed


def pan(share: float) -> Gesture:
    """Move the window by a share of its width; at the live edge it follows the run."""

    def panned(view: Viewport, whole: Whole) -> Viewport:
        if view.window is None:
            return view
        start, end = view.span(whole)
        window = whole.within(start + share * (end - start), end - start)
        return replace(view, window=window, follows=share > 0 and window[1] >= whole.last)

    return panned


def fit(view: Viewport, whole: Whole) -> Viewport:
    """Show everything."""
    return replace(view, window=None, follows=False)


def to_start(view: Viewport, whole: Whole) -> Viewport:
    if view.window is None:
        return view
    start, end = view.window
    return replace(view, window=whole.within(whole.start, end - start), follows=False)


def to_live_edge(view: Viewport, whole: Whole) -> Viewport:
    """Stay with the run; a picture of everything does so anyway."""
    return view if view.window is None else replace(view, follows=True)


def smoother(view: Viewport, whole: Whole) -> Viewport:
    """The next level of smoothing, none after the last."""
    return replace(view, smoothing=(view.smoothing + 1) % len(SMOOTHING))


def onto(axis: Axis, view: Viewport, store: Store) -> Viewport:
    """The same part of the run on another axis."""
    if view.window is None:
        return replace(view, axis=axis)
    start, end = (store.translate(x, view.axis, axis) for x in view.window)
    if end - start < _NARROWEST[axis]:
        return replace(view, axis=axis, window=None, follows=False)
    return replace(view, axis=axis, window=(start, end))


if __name__ == "__main__":
    whole = Whole(0, 1000, 900)
    close = zoom(2)(Viewport(), whole)
    back = pan(-0.5)(close, whole)
    print(close.span(whole), back.span(whole), close.follows, back.follows)
    assert fit(back, whole) == Viewport()
    print("=== 自测通过 ===")
