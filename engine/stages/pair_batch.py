"""The micro-batches of DPO: pairs of answers, packed into rows.

Both answers of a pair are packed as conversations are, so one forward pass reads a whole
micro-batch with next to no padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from lmm_tui.data.chat.spans import Rendered
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.model.loss import token_log_probs
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.stages.chat_base import pack_completions, packed_batch
from lmm_tui.engine.transfer import integers_to_device, to_device
from lmm_tui.message import Message


@dataclass(frozen=True, kw_only=True)
class PairBatch(MicroBatch):
    """B pairs, as 2B answers in packed rows: the chosen ones, then the rejected ones."""

    unit: ClassVar[str] = Message("pair of answers")

    pairs: Sequence[tuple[Rendered, Rendered]]
    """Chosen and rejected, before they were packed."""
    answer_of_N: Tensor
    """Which of the 2B answers each counted label belongs to."""
    lengths_2xB: Tensor
    """Counted labels of each answer."""
    reference_2xB: Tensor | None
    """Log-probabilities under the reference; None where they are computed with the loss."""

    @classmethod
    def of(
        cls,
        pairs: Sequence[tuple[Rendered, Rendered]],
        reference_2xB: Tensor | None,
        seq_len: int,
        device: torch.device,
    ) -> Self:
        """Pairs packed into rows of up to `seq_len` places."""
        answers = [pair[side] for side in (0, 1) for pair in pairs]
        rows, answer_of = pack_completions(answers, seq_len)
        lengths = np.bincount(answer_of).reshape(2, -1)
        answer_of_N, lengths_2xB = integers_to_device([answer_of, lengths], device)
        return cls(
            **vars(packed_batch(rows, device, weight=len(pairs))),
            pairs=pairs,
            answer_of_N=answer_of_N,
            lengths_2xB=lengths_2xB,
            reference_2xB=None if reference_2xB is None else to_device(reference_2xB, device),
        )

    @property
    def units(self) -> int:
        return len(self.pairs)

    def part(self, first: int, last: int) -> Self:
        reference = self.reference_2xB
        return self.of(
            self.pairs[first:last],
            None if reference is None else reference[:, first:last],
            seq_len=self.ids_BxT.shape[1],
            device=self.ids_BxT.device,
        )

    def answer_log_probs(self, model: LanguageModel) -> Tensor:
        """log p of each answer given its prompt, (2, B)."""
        found = token_log_probs(
            *model.projection(self.hidden(model)),
            self.labels_BxT,
            softcap=model.softcap,
            counted=self.counted,
        )
        sums = found.log_p_N.new_zeros(2 * self.weight)
        return sums.index_add(0, self.answer_of_N, found.log_p_N).view(2, -1)


if __name__ == "__main__":
    better, worse = ([1, 2, 3], [False, True, True]), ([1, 4], [False, True])
    batch = PairBatch.of([(better, worse)] * 3, None, 8, torch.device("cpu"))
    print(batch.ids_BxT, batch.answer_of_N, batch.lengths_2xB)
    print("=== 自测通过 ===")
