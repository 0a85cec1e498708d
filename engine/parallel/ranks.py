"""Ranks: the processes that train one run together, and how they agree.

What the loop does must not depend on how many there are. Two groups serve that: `main` (nccl or
gloo) carries tensors of the step, and its waits are short; `control` (gloo) carries what rank 0
decides, and its waits last as long as a pause or a sample may. Without torch.distributed,
`alone()` answers all of it at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lmm_tui.engine.device import ddp_backend
from lmm_tui.engine.parallel.beats import Beats
from lmm_tui.errors import LmmError

T = TypeVar("T")

SETUP_S = 600.0
"""How long ranks wait for one another before the first step, where caches are made."""
_CONTROL = timedelta(days=7)


@dataclass(frozen=True)
class Ranks:
    """This process among those of its run; `rank` 0 writes the run and decides."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among the ranks of this machine: the number of its GPU."""
    control: Any = None
    """The process group of decisions; None alone."""
    beats: Beats = field(default_factory=Beats.alone)
    """What this rank says of what it does."""

    @classmethod
    def join(cls, device_type: str, beats: Beats | None = None) -> Ranks:
        """Meet the others, as the environment of torchrun says; `leave` at the end.

        Waits up to SETUP_S for them. Raises RuntimeError of torch.distributed.
        """
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local = int(os.environ.get("LOCAL_RANK", "0"))
        device = torch.device(device_type, local) if device_type == "cuda" else None
        dist.init_process_group(
            ddp_backend(torch.device(device_type)),
            timeout=timedelta(seconds=SETUP_S),
            device_id=device,
        )
        control = dist.new_group(backend="gloo", timeout=_CONTROL)
        return cls(rank, size, local, control, beats or Beats.alone())

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        return self.size == 1

    def sum_(self, values: Tensor) -> Tensor:
        """Add up over all ranks, in place; the tensor is on the device of training."""
        if not self.is_alone:
            dist.all_reduce(values)
        return values

    def most(self, value: int) -> int:
        """The highest value of all ranks."""
        if self.is_alone:
            return value
        found = torch.tensor([value])
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self.control)
        return int(found)

    def tell(self, value: T) -> T:
        """What rank 0 gives, on all ranks; it must be picklable."""
        if self.is_alone:
            return value
        box = [value if self.leads else None]
        if not self.leads:
            self.beats.phase("broadcast")
        dist.broadcast_object_list(box, 0, group=self.control)
        return box[0]  # type: ignore[return-value]

    def gather(self, value: T) -> list[T]:
        """What each rank gives, in their order, on all ranks."""
        if self.is_alone:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self.control)
        return found

    def by_leader(self, do: Callable[[], T]) -> T:
        """What `do` returns on rank 0, on all ranks, however long it takes.

        An LmmError of it is raised on all ranks.
        """
        if self.is_alone:
            return do()
        outcome: tuple[T | None, LmmError | None] = (None, None)
        if self.leads:
            try:
                outcome = (do(), None)
            except LmmError as error:
                outcome = (None, error)
        found, failed = self.tell(outcome)
        if failed is not None:
            raise failed
        return found  # type: ignore[return-value]

    def in_turn(self, items: Iterable[T]) -> Iterator[tuple[list[T], T]]:
        """As many items at a time as there are ranks, with that of this rank.

        Each rank gets as many as the others, of the last ones some for nothing: what they do for
        an item may have collectives.
        """
        rest = iter(items)
        while group := [*islice(rest, self.size)]:
            yield group, group[min(self.rank, len(group) - 1)]

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """Rank 0 runs the `with` block, then the others: what it puts on the disk is there."""
        if not self.leads:
            self.meet()
        yield
        if self.leads:
            self.meet()

    def meet(self) -> None:
        """Wait for all ranks."""
        if not self.is_alone:
            self.beats.phase("barrier")
            dist.barrier(group=self.control)

    def hurry(self, timeout_s: float) -> None:
        """Wait no longer than this for a tensor of a step from now on."""
        if not self.is_alone:
            dist.distributed_c10d._set_pg_timeout(timedelta(seconds=timeout_s))

    def leave(self) -> None:
        """Leave the group; no other rank waits for this one any more."""
        if not self.is_alone:
            dist.destroy_process_group()


ALONE = Ranks()
"""One process, which needs nobody."""


if __name__ == "__main__":
    print(ALONE, ALONE.tell("decided"), ALONE.gather(3), ALONE.most(4))
    assert [own for _, own in Ranks(1, 2).in_turn("abc")] == ["b", "c"]
    assert ALONE.leads and ALONE.by_leader(lambda: 5) == 5
    print("=== 自测通过 ===")
