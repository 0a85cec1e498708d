"""The micro-batches of preference training: answers after their prompts, packed into rows.

All answers of an example are packed as conversations are, so one forward pass reads a whole
micro-batch with next to no padding. B is examples, W the answers of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

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

Answers = tuple[Rendered, ...]
"""The answers of one example, each after its prompt."""


@dataclass(frozen=True, kw_only=True)
class AnswerBatch(MicroBatch):
    """B examples, as WB answers in packed rows: the first ones of all, then the second ones."""

    unit: ClassVar[str] = Message("answer")

    answers: Sequence[Answers]
    """Of each example, before they were packed."""
    answer_of_N: Tensor
    """Which of the WB answers each counted label belongs to."""
    lengths_WxB: Tensor
    """Counted labels of each answer."""
    reference_WxB: Tensor | None
    """Log-probabilities under the reference; None where they are computed with the loss."""

    @classmethod
    def of(
        cls,
        answers: Sequence[Answers],
        reference_WxB: Tensor | None,
        seq_len: int,
        device: torch.device,
        **known: Any,
    ) -> Self:
        """Examples packed into rows of up to `seq_len` places; `known` has what a subclass adds."""
        every = [example[place] for place in range(len(answers[0])) for example in answers]
        rows, answer_of = pack_completions(every, seq_len)
        lengths = np.bincount(answer_of).reshape(-1, len(answers))
        answer_of_N, lengths_WxB = integers_to_device([answer_of, lengths], device)
        return cls(
            **vars(packed_batch(rows, device, weight=len(answers))),
            answers=answers,
            answer_of_N=answer_of_N,
            lengths_WxB=lengths_WxB,
            reference_WxB=None if reference_WxB is None else to_device(reference_WxB, device),
            **known,
        )

    @property
    def units(self) -> int:
        return len(self.answers)

    def known_part(self, first: int, last: int) -> dict[str, Any]:
        """What a subclass adds, of the examples from `first` up to `last`."""
        del first, last
        return {}

    def part(self, first: int, last: int) -> Self:
        reference = self.reference_WxB
        return self.of(
            self.answers[first:last],
            None if reference is None else reference[:, first:last],
            seq_len=self.ids_BxT.shape[1],
            device=self.ids_BxT.device,
            **self.known_part(first, last),
        )

    def answer_log_probs(self, model: LanguageModel) -> Tensor:
        """log p of each answer given its prompt, (W, B)."""
        found = token_log_probs(
            *model.projection(self.hidden(model)),
            self.labels_BxT,
            softcap=model.softcap,
            counted=self.counted,
        )
        sums = found.log_p_N.new_zeros(self.lengths_WxB.numel())
        return sums.index_add(0, self.answer_of_N, found.log_p_N).view(self.lengths_WxB.shape)


@dataclass(frozen=True, kw_only=True)
class PairBatch(AnswerBatch):
    """Of each example the chosen and the rejected answer."""

    unit: ClassVar[str] = Message("pair of answers")


if __name__ == "__main__":
    better, worse = ([1, 2, 3], [False, True, True]), ([1, 4], [False, True])
    batch = PairBatch.of([(better, worse)] * 3, None, 8, torch.device("cpu"))
    print(batch.ids_BxT, batch.answer_of_N, batch.lengths_WxB)
    print("=== 自测通过 ===")
