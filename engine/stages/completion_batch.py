"""The micro-batches of GRPO: completions with their advantages, packed into rows without padding.

The loss is computed per token of a completion, so each counted label knows its completion and its
place in it. A is completions, T tokens of the longest of them, N counted labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from lmm_tui.data.chat.spans import Rendered
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.stages.chat_base import pack_completions, packed_batch
from lmm_tui.engine.transfer import integers_to_device
from lmm_tui.message import Message


@dataclass(frozen=True, kw_only=True)
class CompletionBatch(MicroBatch):
    """A completions, each after its prompt, in packed rows."""

    unit: ClassVar[str] = Message("answer with its prompt")

    completions: Sequence[Rendered]
    """Each after its prompt, before they were packed."""
    completion_of_N: Tensor
    """Which completion each counted label belongs to."""
    place_of_N: Tensor
    """Which token of its completion each counted label is."""
    sampled_log_p_AxT: Tensor
    """Log-probabilities as the rollout measured them, one token after another."""
    old_log_p_AxT: Tensor
    """Under the same policy, as a training step measures them; else those of the rollout."""
    mask_AxT: Tensor
    """1 where a completion has a token, else 0."""
    advantages_A: Tensor
    mean_length: float
    """Tokens of a completion, over the whole step."""
    sums: dict[str, Tensor]
    """Sums worth a curve that are known before the forward pass, by metric name."""

    @classmethod
    def of(
        cls, completions: Sequence[Rendered], seq_len: int, device: torch.device, **known: Any
    ) -> Self:
        """Pack into rows of up to `seq_len` places; `known` has the fields after `place_of_N`."""
        rows, completion_of = pack_completions(completions, seq_len)
        prompt_lengths = np.array([counted.index(True) for _, counted in completions])
        # A label stands one place before its token: the first one at the end of the prompt.
        place_of = rows.positions[rows.labels >= 0] - prompt_lengths[completion_of] + 1
        completion_of_N, place_of_N = integers_to_device([completion_of, place_of], device)
        return cls(
            **vars(packed_batch(rows, device, weight=len(completions))),
            completions=completions,
            completion_of_N=completion_of_N,
            place_of_N=place_of_N,
            **known,
        )

    @property
    def units(self) -> int:
        return len(self.completions)

    def part(self, first: int, last: int) -> Self:
        return self.of(
            self.completions[first:last],
            seq_len=self.ids_BxT.shape[1],
            device=self.ids_BxT.device,
            sampled_log_p_AxT=self.sampled_log_p_AxT[first:last],
            old_log_p_AxT=self.old_log_p_AxT[first:last],
            mask_AxT=self.mask_AxT[first:last],
            advantages_A=self.advantages_A[first:last],
            mean_length=self.mean_length,
            sums={name: value * (last - first) / self.units for name, value in self.sums.items()},
        )

    def by_completion(self, values_N: Tensor) -> Tensor:
        """Values of the counted labels as (A, T), zero where a completion has no token."""
        empty_AxT = torch.zeros_like(self.mask_AxT)
        return empty_AxT.index_put((self.completion_of_N, self.place_of_N), values_N)


if __name__ == "__main__":
    batch = CompletionBatch.of(
        [([1, 2, 3], [False, True, True]), ([1, 4], [False, True])], 8, torch.device("cpu"),
        sampled_log_p_AxT=torch.zeros(2, 2), old_log_p_AxT=torch.zeros(2, 2),
        mask_AxT=torch.tensor([[1.0, 1.0], [1.0, 0.0]]),
        advantages_A=torch.tensor([1.0, -1.0]), mean_length=1.5, sums={},
    )  # fmt: skip
    print(batch.by_completion(batch.labels_BxT[batch.labels_BxT >= 0].float()))
    print("=== 自测通过 ===")
