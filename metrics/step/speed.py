"""How fast a run is: steps/s, tokens/s, model FLOPs utilisation, time left.

Knows a clock and nothing else: neither torch nor what a step does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class SpeedMeter:
    """Speed over the last `window` steps, in the time that was really spent on steps.

    The first step of a process (allocation, compilation) counts for nothing, and neither does
    time inside `excluded()`: pauses, validation, checkpoints, samples.
    """

    def __init__(
        self,
        flops_per_token: float | None = None,
        peak_flops: float | None = None,
        window: int = 50,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._flops_per_token = flops_per_token
        self._peak_flops = peak_flops
        self._clock = clock
        self._seconds: deque[float] = deque(maxlen=window)
        self._tokens: deque[int] = deque(maxlen=window)
        self._last: float | None = None
        self._excluded = 0.0
        self._depth = 0

    def step(self, tokens: int) -> None:
        """A step of `tokens` tokens has just ended."""
        now = self._clock()
        if self._last is not None:
            self._seconds.append(now - self._last - self._excluded)
            self._tokens.append(tokens)
        self._last, self._excluded = now, 0.0

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """Time in here is not a step's; may be nested."""
        start = self._clock()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._excluded += self._clock() - start

    @property
    def steps_per_s(self) -> float | None:
        """None until a second step has ended."""
        return self._per_second(len(self._seconds))

    @property
    def tokens_per_s(self) -> float | None:
        return self._per_second(sum(self._tokens))

    @property
    def mfu(self) -> float | None:
        """Share of the device's peak that the model's own FLOPs make up, recomputation not
        counted (PaLM, arXiv 2204.02311, appendix B); None where either is unknown.
        """
        tokens_per_s = self.tokens_per_s
        if tokens_per_s is None or not self._flops_per_token or not self._peak_flops:
            return None
        return self._flops_per_token * tokens_per_s / self._peak_flops

    def seconds_for(self, steps: int) -> float | None:
        """How long `steps` more steps take at this speed."""
        rate = self.steps_per_s
        return None if rate is None else steps / rate

    def _per_second(self, amount: int) -> float | None:
        seconds = sum(self._seconds)
        return amount / seconds if seconds > 0 else None


if __name__ == "__main__":
    ticks = iter([0.0, 2.0, 3.0, 13.0, 14.0])
    meter = SpeedMeter(flops_per_token=6e6, peak_flops=1e12, clock=lambda: next(ticks))
    meter.step(4096)
    meter.step(4096)
    with meter.excluded():
        pass
    meter.step(4096)
    print(meter.steps_per_s, "steps/s", meter.tokens_per_s, "tokens/s", f"MFU {meter.mfu:.3f}")
    assert meter.steps_per_s == 0.5 and meter.seconds_for(10) == 20.0
    print("=== 自测通过 ===")
