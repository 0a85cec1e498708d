"""Agreement of all ranks of a script: rank 0 decides, the others do the same at the same step.

Messages go through the key-value store of the process group (`torch.distributed.Store`). That is
no collective: nothing waits for a GPU, and the timeout of the group, which would end a long pause,
does not apply. Rank 0 never waits for the others; it says for how many meetings they need no
message, so that short steps share one (`_WINDOW_S`, at most `_MOST_FREE` steps).
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

from lmm_tui.engine.instrument.whole_numbers import whole_number
from lmm_tui.engine.run.launched_rank import launched_rank
from lmm_tui.message import Message, with_messages, with_parts

_log = logging.getLogger("engine")

_WINDOW_S = 0.1
_MOST_FREE = 16
_MOST_UNREAD = 512
"""Messages that rank 0 writes while no other rank has read one; then it goes on alone."""
_JOIN_S, _ANSWER_S = 1.0, 600.0
_FIRST_MESSAGE_S = 60.0

_joined = count(1)
"""The runs of this process in the order in which `should_stop` was first read: the same on all
ranks, while their paths may differ, as where these have the time in them."""


def rank_of_process(given: int | None) -> int:
    """`given`, else what torch.distributed says once initialised, else the launcher."""
    if given is not None:
        return whole_number("rank", given)
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    return launched_rank()


class RankGroup:
    """The other ranks of one run, found once the script has initialised torch.distributed."""

    def __init__(self) -> None:
        self.rank = 0
        self.size = 1
        self._prefix = ""
        self._store: Any = None

    def found(self) -> bool:
        """Whether there are other ranks and a way to reach them."""
        if self._store is None:
            self._look()
        return self._store is not None

    def _look(self) -> None:
        distributed = sys.modules.get("torch.distributed")
        if distributed is None or not distributed.is_available():
            return
        if not distributed.is_initialized() or distributed.get_world_size() < 2:
            return
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        with suppress(AttributeError, RuntimeError):  # A backend without a store.
            store = distributed.distributed_c10d._get_default_store()
            # A client of its own: a thread of torch must not wait while this one does.
            self._store = store.clone() if hasattr(store, "clone") else store

    def join(self) -> None:
        """Take part; call it on all ranks in the same order."""
        self._prefix = f"lmm-tui/{next(_joined)}/"

    def write(self, key: str, value: str) -> None:
        self._store.set(self._prefix + key, value)

    def add(self, key: str, amount: int) -> int:
        return int(self._store.add(self._prefix + key, amount))

    def take(self, key: str, readers: int = 1) -> str:
        """Read a key; the last of its readers removes it."""
        value = self._store.get(self._prefix + key).decode()
        if readers == 1 or self.add(f"{key}/read", 1) == readers:
            self.remove(key)
            if readers > 1:
                self.remove(f"{key}/read")
        return str(value)

    def remove(self, key: str) -> None:
        with suppress(RuntimeError, NotImplementedError):
            self._store.delete_key(self._prefix + key)

    def wait(self, key: str, seconds: float = float("inf")) -> bool:
        """Wait for a key; False where it does not come in time. RuntimeError without the store.

        It asks again and again: the store's own `wait` has a limit, and warns when that is over.
        """
        began = time.monotonic()
        while not self._store.check([self._prefix + key]):
            waited = time.monotonic() - began
            if waited > seconds:
                return False
            time.sleep(min(max(waited / 10, 5e-5), 0.05))
        return True


class Leader:
    """Rank 0's side."""

    def __init__(self, group: RankGroup) -> None:
        group.join()
        self._group = group
        self._count = 0
        self._called = 0
        self._free = 0
        self._window = 1
        self._released = time.monotonic()
        self._alone = False

    def due(self) -> bool:
        """Whether the others wait for a message at this meeting."""
        if self._free:
            self._free -= 1
            return False
        return True

    def release(self) -> None:
        """Let the others go on for some steps."""
        now = time.monotonic()
        taken, self._released = now - self._released, now
        self._window = max(1, min(int(self._window * _WINDOW_S / max(taken, 1e-6)), _MOST_FREE))
        self._free = self._window - 1
        self._send({"free": self._free})

    def call(self, name: str, args: list[str]) -> None:
        """Have the others call their function of this name."""
        self._called = self._count
        self._send({"call": name, "args": args})

    def stop(self) -> None:
        self._send({"stop": True})

    def end(self) -> None:
        """The others go on by themselves."""
        self._send({"end": True})

    def complete(self) -> bool:
        """Whether every other rank reads the messages; waits a moment for the late ones."""
        deadline = time.monotonic() + _JOIN_S
        with suppress(RuntimeError):
            while not self._alone:
                if self._group.add("joined", 0) == self._group.size - 1:
                    return True
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.01)
        return False

    def failures(self) -> list[str]:
        """Wait until the others have done the last call; a sentence for each that failed."""
        found: list[str] = []
        with suppress(RuntimeError):
            if not self._alone and self._group.add("joined", 0) == self._group.size - 1:
                found = [self._failure_of(number) for number in range(1, self._group.size)]
        return [failure for failure in found if failure]

    def _failure_of(self, number: int) -> str:
        key = f"{self._called}/{number}"
        if not self._group.wait(key, _ANSWER_S):
            return Message("a rank did not answer within {answer_s:.0f} s", answer_s=_ANSWER_S)
        found = with_messages(json.loads(self._group.take(key)))
        if not found["failure"]:
            return ""
        return Message("rank {rank}: {failure}", rank=found["rank"], failure=found["failure"])

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._alone:
            return
        try:
            self._group.write(str(self._count), json.dumps(message))
            self._count += 1
            if self._count == _MOST_UNREAD and not self._group.add("joined", 0):
                self._alone = True
                for at in range(self._count):
                    self._group.remove(str(at))
        except RuntimeError:  # The group was destroyed.
            self._alone = True


class Follower:
    """The side of a rank other than 0."""

    def __init__(self, group: RankGroup, call: Callable[[str, list[str]], str]) -> None:
        """`call` does a command and returns why it failed, or nothing."""
        group.join()
        self.stopped = False
        self._group = group
        self._call = call
        self._count = 0
        self._free = 0
        self._alone = False
        self._number = 0
        """Among the followers, from 1; ranks may be numbered otherwise by `rank=`."""
        with suppress(RuntimeError):
            self._number = group.add("joined", 1)

    def meet(self) -> bool:
        """Do what rank 0 decided at this step, waiting for it; whether to stop."""
        if self._free:
            self._free -= 1
            return False
        try:
            while not (self.stopped or self._alone):
                message = self._next()
                if "call" in message:
                    failure = self._call(message["call"], message["args"])
                    answer = json.dumps(with_parts({"rank": self._group.rank, "failure": failure}))
                    self._group.write(f"{self._count - 1}/{self._number}", answer)
                elif "free" in message:
                    self._free = message["free"]
                    break
                self.stopped = "stop" in message
                self._alone = "end" in message
        except RuntimeError:
            self._alone = True  # Rank 0 is gone, and its store with it.
        return self.stopped

    def _next(self) -> Mapping[str, Any]:
        key = str(self._count)
        if not self._group.wait(key, float("inf") if self._count else _FIRST_MESSAGE_S):
            self._group.add("joined", -1)
            _log.warning(
                "rank %d: rank 0 has sent nothing for %.0f s, so this rank takes no commands; call "
                "lmm_run and read run.should_stop on every rank",
                self._group.rank,
                _FIRST_MESSAGE_S,
            )
            return {"end": True}
        self._count += 1
        message: Mapping[str, Any] = json.loads(self._group.take(key, self._group.size - 1))
        return message


if __name__ == "__main__":
    import torch.distributed

    leads, follows = RankGroup(), RankGroup()
    leads._store = follows._store = torch.distributed.HashStore()
    leads.size = follows.size = 2
    leader, follower = Leader(leads), Follower(follows, lambda name, args: f"no {name}")
    follows._prefix, follows.rank = leads._prefix, 1
    leader.call("checkpoint", [])
    leader.stop()
    print(follower.meet(), leader._group.take("0/1"))
    print("=== 自测通过 ===")
