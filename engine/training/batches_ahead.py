"""Lays out the micro-batches of the next step in a thread while the present one trains.

Which data a step has stays a pure function of (seed, step): the thread only calls early what the
step would have called itself. A step that was not foreseen, as after a rollback, is laid out when
it is asked for; an error of the thread is that of the step it was for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")

_CLOSING_S = 5.0
"""How long `close` waits for the thread: a text that is streamed may never have more tokens."""


class BatchesAhead(Generic[T]):
    """`close` it."""

    def __init__(
        self,
        lay_out: Callable[[int], T],
        *,
        ahead: bool,
        under: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """`lay_out` makes the data of a step, under the context `under`.

        Without `ahead` each step makes its own, for stages whose data come from the model.
        """
        self._lay_out, self._under = lay_out, under
        self._asked: SimpleQueue[tuple[int, Future[T]] | None] = SimpleQueue()
        self._next: tuple[int, Future[T]] | None = None
        self._thread: threading.Thread | None = None
        if ahead:
            self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
            self._thread.start()

    def take(self, step: int) -> T:
        """The data of a step; those of the following one are begun."""
        found, self._next = self._next, None
        if found is not None and found[0] == step:
            data = found[1].result()
        else:
            if found is not None:  # Two at once might share what one of them is filling.
                found[1].exception()
            data = self._make(step)
        if self._thread is not None:
            self._next = step + 1, Future()
            self._asked.put(self._next)
        return data

    def close(self) -> None:
        """End the thread; what it has laid out is forgotten."""
        self._asked.put(None)
        if self._thread is not None:
            self._thread.join(_CLOSING_S)

    def _make(self, step: int) -> T:
        with self._under():
            return self._lay_out(step)

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            step, future = asked
            try:
                future.set_result(self._make(step))
            except BaseException as error:
                future.set_exception(error)


if __name__ == "__main__":
    made: list[int] = []

    def lay_out(step: int) -> int:
        made.append(step)
        return step * 10

    batches = BatchesAhead(lay_out, ahead=True)
    print(batches.take(0), batches.take(1), batches.take(7))
    batches.close()
    assert sorted(made) == [0, 1, 2, 7, 8]
    print("=== 自测通过 ===")
