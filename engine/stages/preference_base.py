"""What DPO, KTO and reward models have in common: examples of one or two answers to a prompt.

A subclass reads them, and has the loss. The log-probabilities under the reference are computed
once, before the first step, and kept in the run directory.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmm_tui.data.batching.order import Order, slices
from lmm_tui.data.builtin.holdout import Split
from lmm_tui.data.chat.kept_examples import KeptAnswers
from lmm_tui.data.chat.rendering import TalkRendering
from lmm_tui.data.chat.spans import Rendered
from lmm_tui.data.chat.whole_check import differences
from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.data.text.dataset import Dataset
from lmm_tui.data.turns import Conversation
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.generation.generate import evaluating
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages import reference_model
from lmm_tui.engine.stages.answer_batch import AnswerBatch, Answers, PairBatch
from lmm_tui.engine.stages.base import MicroBatch, mean_losses
from lmm_tui.engine.stages.chat_base import ChatStage
from lmm_tui.engine.stages.mixture_parts import refuse_mixture
from lmm_tui.errors import LmmError
from lmm_tui.message import Message


class AnswerSet:
    """The examples of one side of the data, with reference log-probabilities if precomputed."""

    def __init__(self, items: Sequence[Answers]) -> None:
        self.items = items
        self.reference_PxW: Tensor | None = None

    def reference_of(self, indices: NDArray[np.int64]) -> Tensor | None:
        """(W, B)."""
        return None if self.reference_PxW is None else self.reference_PxW[indices].T


class PreferenceStage(ChatStage):
    """The loss of a step is the mean over its examples, which `train.batch_size` counts."""

    width = 2
    """Answers of an example."""
    examples = Message("pairs")
    """What examples are called."""
    batch_type: type[AnswerBatch] = PairBatch

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        refuse_mixture(config)
        data = config.data
        self._config, self._device = config, device
        progress(Message("reading {examples}", examples=self.examples), 0, 0)
        rows = self.read("train")
        super().__init__(config, rows, self.texts, progress)
        kept = self._render(rows)
        held_out = self.read("test")
        self._train, self._val = AnswerSet(kept), AnswerSet(self._render(held_out))
        self.ask_own_questions(data.named, (talk.turns for talk in self._talks(held_out)))
        self.warn_of_skipped(rows, data.named)
        self._warn_of_left_out(kept)
        if data.tokenizer is not None:
            talks = (talk.turns for talk in self._talks(rows))
            self.warnings += differences(talks, self.tokenizer, self.template)
        if not self._val.items:
            self.warnings.append(
                Message("no validation: there are no validation {examples}", examples=self.examples)
            )
        self.data_fingerprint = kept.fingerprint
        self._order = Order(len(self._train.items), config.train.seed)
        train = config.train
        self.steps_per_epoch = len(self._train.items) / (train.batch_size * train.grad_accum)
        self.probe_sequence = (self._val.items or self._train.items)[0][0][0]

    @abstractmethod
    def read(self, side: Split) -> Dataset[Any]:
        """One side of the configured rows."""

    @abstractmethod
    def conversations(self, row: Any) -> Iterator[Conversation]:
        """The answers of the examples of a row in turn, each after its prompt."""

    def texts(self, row: Any) -> Iterator[str]:
        """The contents of a row, each once, that a tokenizer is trained on."""
        return (turn.content for talk in self.conversations(row) for turn in talk.turns)

    reads: Callable[[Rendered], Rendered] | None = None
    """What the loss reads of the tokens and labels of an answer; None: all."""

    def micro_batches(self, step: int) -> list[MicroBatch]:
        return [self.batch(self._train, indices) for indices in self.indices(step)]

    def indices(self, step: int) -> list[NDArray[np.int64]]:
        """Of the examples of each micro-batch."""
        train = self._config.train
        first = step * train.grad_accum
        return [self._order.take(first + i, train.batch_size) for i in range(train.grad_accum)]

    def validate(self, model: LanguageModel) -> dict[str, float]:
        return mean_losses(self, model, self.validation_batches()) if self._val.items else {}

    def validation_batches(self) -> Iterator[MicroBatch]:
        """Validation examples, the same ones for any `train.batch_size`."""
        for indices in self.in_order(self._val, self._config.log.val_sequences):
            yield self.batch(self._val, indices)

    def batch(self, answers: AnswerSet, indices: NDArray[np.int64]) -> AnswerBatch:
        """A micro-batch of these examples."""
        return self.batch_type.of(
            [answers.items[at] for at in indices],
            answers.reference_of(indices),
            self._config.data.seq_len,
            self._device,
        )

    def take_reference(
        self, model: LanguageModel, run_dir: RunDir, fresh: bool, sets: Mapping[str, AnswerSet]
    ) -> None:
        """Measure or read the log-probabilities of `sets` under the model as the run began.

        Those called `train…` are measured in the batches of the first epoch, the others in order.
        """
        if fresh:
            found = {
                name: self._measured(
                    model,
                    answers,
                    self._first_epoch() if name.startswith("train") else self.in_order(answers),
                    name,
                )
                for name, answers in sets.items()
            }
            self.ranks.by_leader(lambda: reference_model.save_reference(run_dir, found))
        saved = reference_model.load_reference(run_dir)
        for name, answers in sets.items():
            if len(saved[name]) != len(answers.items):
                raise LmmError(
                    "data.source: has {items} {name} {examples}, the run began with "
                    "{saved}; resume it with the same data",
                    items=len(answers.items),
                    name=name,
                    examples=self.examples,
                    saved=len(saved[name]),
                )
            answers.reference_PxW = saved[name]

    def in_order(self, answers: AnswerSet, most: int | None = None) -> list[NDArray[np.int64]]:
        """The indices of the first `most` examples, or of all, in batches."""
        every = np.arange(len(answers.items))[:most]
        return [every[part] for part in slices(len(every), self._config.train.batch_size)]

    def _first_epoch(self) -> list[NDArray[np.int64]]:
        """The indices of each micro-batch of the first epoch."""
        size = self._config.train.batch_size
        return [self._order.take(at, size) for at in range(-(-len(self._train.items) // size))]

    def _measured(
        self,
        model: LanguageModel,
        answers: AnswerSet,
        batches: Sequence[NDArray[np.int64]],
        name: str,
    ) -> Tensor:
        """The log-probabilities of all answers under `model`, (P, W).

        Of the very micro-batches that a step reads: in low precision they depend on what else is
        in a batch, and those of the policy must be the same before its first update.
        """
        width = len(answers.items[0]) if answers.items else self.width
        found_PxW = torch.full((len(answers.items), width), torch.nan)
        ranks = self.ranks
        with torch.no_grad(), evaluating(model):
            for number, indices in enumerate(batches[ranks.rank :: ranks.size]):
                self._progress(
                    Message("reference log-probs, {name}", name=name), number, len(batches)
                )
                measured_BxW = self.batch(answers, indices).answer_log_probs(model).T.cpu()
                # The last micro-batch of an epoch may have examples of the next one.
                new, first = np.unique(indices, return_index=True)
                missing = found_PxW[new, 0].isnan().numpy()
                found_PxW[new[missing]] = measured_BxW[first[missing]]
        return _joined(ranks.gather(found_PxW))

    def _render(self, rows: Dataset[Any]) -> KeptAnswers:
        answers = TalkRendering(self.conversations, self.tokenizer, self.template, self.reads)
        return KeptAnswers(self.prepared(rows, answers), self.width, self._config.data.seq_len)

    def _talks(self, rows: Iterable[Any]) -> Iterator[Conversation]:
        for row in rows:
            yield from self.conversations(row)

    def _warn_of_left_out(self, train: KeptAnswers) -> None:
        """Of examples that are not in use; DataError where none is."""
        examples = self.examples
        if train.unwritten and not train:
            raise DataError(
                "data.source: the chat template writes nothing of an answer in any of the "
                "{examples}; choose chatml, or mend the data",
                examples=examples,
            )
        if not train:
            raise DataError(
                "data.source: no {examples} in {seq_len} tokens; raise data.seq_len",
                examples=examples,
                seq_len=self._config.data.seq_len,
            )
        if train.too_long:
            self.warnings.append(
                Message(
                    "{too_long} {examples} left out, longer than {seq_len} tokens",
                    too_long=train.too_long,
                    examples=examples,
                    seq_len=self._config.data.seq_len,
                )
            )
        if train.unwritten:
            self.warnings.append(
                Message(
                    "{unwritten} {examples} left out: the chat template writes nothing of an "
                    "answer",
                    unwritten=train.unwritten,
                    examples=examples,
                )
            )


def _joined(found: Sequence[Tensor]) -> Tensor:
    """What the ranks have measured; of what several did, the value of the first."""
    joined = found[0]
    for other in found[1:]:
        joined = torch.where(joined.isnan(), other, joined)
    return joined


if __name__ == "__main__":
    told: Rendered = ([1, 2], [False, True])
    both = AnswerSet([(told, told)])
    both.reference_PxW = torch.tensor([[1.0, 2.0]])
    print(both.reference_of(np.array([0])))
    print("=== 自测通过 ===")
