"""Speed of a run: steps/s, tokens/s, model FLOPs utilisation, time left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class SpeedMeter:
    """Speed over the last `window` steps, in the time spent on steps.

    The first step of a process (allocation, compilation) is not counted, nor is time inside
    `excluded()`: pauses, validation, checkpoints, samples.
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
        """Record the end of a step of `tokens` tokens."""
        now = self._clock()
        if self._last is not None:
            self._seconds.append(now - self._last - self._excluded)
            self._tokens.append(tokens)
        self._last, self._excluded = now, 0.0

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """Do not count the time inside; may be nested."""
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
        """None until the second step has ended."""
        return self._per_second(len(self._seconds))

    @property
    def tokens_per_s(self) -> float | None:
        return self._per_second(sum(self._tokens))

    @property
    def mfu(self) -> float | None:
        """Model FLOPs per second over the device's peak; None if either is unknown.

        Recomputation is not counted (PaLM, arXiv 2204.02311, appendix B).
        """
        tokens_per_s = self.tokens_per_s
        if tokens_per_s is None or not self._flops_per_token or not self._peak_flops:
            return None
        return self._flops_per_token * tokens_per_s / self._peak_flops

    def seconds_for(self, steps: int) -> float | None:
        """Duration of `steps` more steps at this speed; None if it is unknown."""
        rate = self.steps_per_s
        return None if rate is None else steps / rate

    def _per_second(self, amount: int) -> float | None:
        seconds = sum(self._seconds)
        return amount / seconds if seconds > 0 else None


if __name__ == "__main__":
    ticks = iter([0.0, 2.0, 3.0, 13.0, 14.0])  # step, step, start and end of a pause, step
    meter = SpeedMeter(flops_per_token=6e6, peak_flops=1e12, clock=lambda: next(ticks))
    meter.step(4096)
    meter.step(4096)
    with meter.excluded():
        print(meter.steps_per_s, "steps/s", meter.tokens_per_s, "tokens/s", f"MFU {meter.mfu:.3f}")
    print("=== 自测通过 ===")
