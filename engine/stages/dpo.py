"""Preference optimisation (DPO and others): of two answers, the chosen one is made more likely.

The log-probabilities under the reference are computed once, before the first step, and kept in
the run directory; or in every step, by a second model (`dpo.reference = "live"`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmm_tui.data.batching.order import Order, slices
from lmm_tui.data.chat.preferences import read_pairs
from lmm_tui.data.chat.spans import Rendered
from lmm_tui.data.chat.template import render_all
from lmm_tui.data.chat.whole_check import differences
from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.data.turns import Conversation, Pair
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.generation.generate import evaluating
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages import reference_model
from lmm_tui.engine.stages.base import Losses, MicroBatch, mean_losses
from lmm_tui.engine.stages.chat_base import ChatStage, fingerprint_of, read_side
from lmm_tui.engine.stages.mixture_parts import refuse_mixture
from lmm_tui.engine.stages.pair_batch import PairBatch
from lmm_tui.engine.stages.preference_loss import (
    REFERENCE_FREE,
    Rewards,
    dpo_loss,
    implicit_rewards,
    reference_free_loss,
)
from lmm_tui.errors import LmmError
from lmm_tui.message import Message
from lmm_tui.metrics.stages.dpo import DPO


class _PairSet:
    """The pairs of one side of the data, with their reference log-probabilities if precomputed."""

    def __init__(self, rendered: Iterator[Rendered], seq_len: int) -> None:
        """`rendered` yields chosen and rejected in turn.

        Pairs with a long one are left out, and those with one of which nothing is learnt.
        """
        self.items: list[tuple[Rendered, Rendered]] = []
        self.too_long = self.unwritten = 0
        for chosen, rejected in zip(rendered, rendered, strict=True):
            if max(len(chosen[0]), len(rejected[0])) > seq_len + 1:
                self.too_long += 1
            elif not (any(chosen[1]) and any(rejected[1])):
                self.unwritten += 1
            else:
                self.items.append((chosen, rejected))
        self.reference_Px2: Tensor | None = None


class DpoStage(ChatStage):
    """The loss of a step is the mean over its pairs; `train.batch_size` counts pairs."""

    info = DPO
    laid_out_ahead = True

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        refuse_mixture(config)
        data = config.data
        progress(Message("reading pairs"), 0, 0)
        pairs = read_side(read_pairs, data, "train")
        super().__init__(config, _contents(pairs))
        self._config, self._settings = config, config.dpo
        self._device, self._progress = device, progress
        self._train = self._render(pairs)
        held_out = read_side(read_pairs, data, "test")
        self._val = self._render(held_out)
        self.ask_own_questions(data.named, (talk.turns for talk in _conversations(held_out)))
        self.warn_of_skipped(pairs, data.named)
        if self._train.unwritten and not self._train.items:
            raise DataError(
                "data.source: the chat template writes nothing of an answer in any pair; choose "
                "chatml, or mend the data"
            )
        if not self._train.items:
            raise DataError(
                "data.source: no pair in {seq_len} tokens; raise data.seq_len", seq_len=data.seq_len
            )
        if self._train.too_long:
            self.warnings.append(
                Message(
                    "{too_long} pairs left out, longer than {seq_len} tokens",
                    too_long=self._train.too_long,
                    seq_len=data.seq_len,
                )
            )
        if self._train.unwritten:
            self.warnings.append(
                Message(
                    "{unwritten} pairs left out: the chat template writes nothing of an answer",
                    unwritten=self._train.unwritten,
                )
            )
        if data.tokenizer is not None:
            talks = (talk.turns for talk in _conversations(pairs))
            self.warnings += differences(talks, self.tokenizer, self.template)
        if not self._val.items:
            self.warnings.append(Message("no validation: there are no validation pairs"))
        self.data_fingerprint = fingerprint_of(chain.from_iterable(self._train.items))
        self._order = Order(len(self._train.items), config.train.seed)
        train = config.train
        self.steps_per_epoch = len(self._train.items) / (train.batch_size * train.grad_accum)
        self._reference: LanguageModel | None = None
        self.baselines = {} if config.dpo.loss in REFERENCE_FREE else {"ln 2": math.log(2)}
        self.probe_sequence = (self._val.items or self._train.items)[0][0][0]

    def begin(self, model: LanguageModel, run_dir: RunDir, fresh: bool) -> None:
        if self._settings.loss in REFERENCE_FREE:
            return
        if self._settings.reference == "live":
            self._reference = reference_model.frozen_model(model, run_dir, fresh, self.ranks)
            return
        sets = {"train": self._train, "val": self._val}
        if fresh:
            found = {
                "train": self._precompute(model, self._train, self._first_epoch(), "train"),
                "val": self._precompute(model, self._val, self._in_order(self._val), "val"),
            }
            self.ranks.by_leader(lambda: reference_model.save_reference(run_dir, found))
        saved = reference_model.load_reference(run_dir)
        for name, pairs in sets.items():
            if len(saved[name]) != len(pairs.items):
                raise LmmError(
                    "data.source: has {items} {name} pairs, the run began with "
                    "{saved}; resume it with the same data",
                    items=len(pairs.items),
                    name=name,
                    saved=len(saved[name]),
                )
            pairs.reference_Px2 = saved[name]

    def micro_batches(self, step: int) -> list[MicroBatch]:
        train = self._config.train
        first = step * train.grad_accum
        return [
            self._batch(self._train, self._order.take(first + i, train.batch_size))
            for i in range(train.grad_accum)
        ]

    def loss(self, model: LanguageModel, batch: MicroBatch) -> Losses:
        assert isinstance(batch, PairBatch)
        policy = batch.answer_log_probs(model)
        if self._settings.loss in REFERENCE_FREE:
            return self._reference_free(policy, batch)
        reference = batch.reference_2xB
        if reference is None:
            assert self._reference is not None
            with torch.no_grad():
                reference = batch.answer_log_probs(self._reference)
        settings = self._settings
        losses_B = dpo_loss(
            policy[0],
            policy[1],
            reference[0],
            reference[1],
            beta=settings.beta,
            label_smoothing=settings.label_smoothing,
            kind="ipo" if settings.loss == "ipo" else "sigmoid",
            chosen_lengths_B=batch.lengths_2xB[0],
            rejected_lengths_B=batch.lengths_2xB[1],
        )
        rewards = implicit_rewards(
            policy[0], policy[1], reference[0], reference[1], beta=settings.beta
        )
        return losses_B.sum(), _sums(rewards, policy)

    def _reference_free(self, policy: Tensor, batch: PairBatch) -> Losses:
        """ORPO and SimPO: of log-probabilities per token, which are the rewards, too."""
        settings = self._settings
        means = policy / batch.lengths_2xB
        losses_B = reference_free_loss(
            means[0],
            means[1],
            beta=settings.beta,
            gamma=settings.gamma,
            kind="orpo" if settings.loss == "orpo" else "simpo",
        )
        rewards = Rewards(*(settings.beta * means).detach())
        return losses_B.sum(), _sums(rewards, policy)

    def validate(self, model: LanguageModel) -> dict[str, float]:
        return mean_losses(self, model, self.validation_batches()) if self._val.items else {}

    def validation_batches(self) -> Iterator[MicroBatch]:
        """Validation pairs, the same ones for any `train.batch_size`."""
        for indices in self._in_order(self._val, self._config.log.val_sequences):
            yield self._batch(self._val, indices)

    def _in_order(self, pairs: _PairSet, most: int | None = None) -> list[NDArray[np.int64]]:
        """The indices of the first `most` pairs, or of all, in batches."""
        every = np.arange(len(pairs.items))[:most]
        return [every[part] for part in slices(len(every), self._config.train.batch_size)]

    def _first_epoch(self) -> list[NDArray[np.int64]]:
        """The indices of each micro-batch of the first epoch."""
        size = self._config.train.batch_size
        return [self._order.take(at, size) for at in range(-(-len(self._train.items) // size))]

    def _precompute(
        self, model: LanguageModel, pairs: _PairSet, batches: Sequence[NDArray[np.int64]], name: str
    ) -> Tensor:
        """The log-probabilities of chosen and rejected answers under `model`, (P, 2).

        Of the very micro-batches that a step reads: in low precision they depend on what else is
        in a batch, and those of the policy must be the same before its first update.
        """
        found_Px2 = torch.full((len(pairs.items), 2), torch.nan)
        ranks = self.ranks
        with torch.no_grad(), evaluating(model):
            for number, indices in enumerate(batches[ranks.rank :: ranks.size]):
                self._progress(
                    Message("reference log-probs, {name}", name=name), number, len(batches)
                )
                measured_Bx2 = self._batch(pairs, indices).answer_log_probs(model).T.cpu()
                # The last micro-batch of an epoch may have pairs of the next one.
                new, first = np.unique(indices, return_index=True)
                missing = found_Px2[new, 0].isnan().numpy()
                found_Px2[new[missing]] = measured_Bx2[first[missing]]
        return _joined(ranks.gather(found_Px2))

    def _batch(self, pairs: _PairSet, indices: NDArray[np.int64]) -> PairBatch:
        reference = pairs.reference_Px2
        return PairBatch.of(
            [pairs.items[at] for at in indices],
            None if reference is None else reference[indices].T,
            self._config.data.seq_len,
            self._device,
        )

    def _render(self, pairs: Iterable[Pair]) -> _PairSet:
        rendered = render_all(_conversations(pairs), self.tokenizer, self.template)
        return _PairSet(rendered, self._config.data.seq_len)


def _joined(found: Sequence[Tensor]) -> Tensor:
    """What the ranks have measured; of what several did, the value of the first."""
    joined = found[0]
    for other in found[1:]:
        joined = torch.where(joined.isnan(), other, joined)
    return joined


def _sums(rewards: Rewards, policy_2xB: Tensor) -> dict[str, Tensor]:
    chosen_logp, rejected_logp = policy_2xB.detach().sum(1)
    return {
        "dpo/margin": rewards.margin_B.sum(),
        "dpo/accuracy": rewards.accuracy_B.sum(),
        "dpo/chosen_reward": rewards.chosen_B.sum(),
        "dpo/rejected_reward": rewards.rejected_B.sum(),
        "dpo/chosen_logp": chosen_logp,
        "dpo/rejected_logp": rejected_logp,
    }


def _conversations(pairs: Iterable[Pair]) -> Iterator[Conversation]:
    """The chosen and the rejected one of each pair in turn.

    Earlier answers in the prompt are neither chosen nor rejected.
    """
    for pair in pairs:
        shown = tuple(replace(turn, learnt=False) for turn in pair.prompt)
        yield from (Conversation(shown + answer) for answer in (pair.chosen, pair.rejected))


def _contents(pairs: Iterable[Pair]) -> Iterator[str]:
    for pair in pairs:
        yield from (turn.content for turn in pair.prompt + pair.chosen + pair.rejected)


if __name__ == "__main__":
    from lmm_tui.engine.config.resolve import resolve

    settings = resolve(assignments={"stage": "dpo"}).completed()
    stage = DpoStage(settings, torch.device("cpu"), lambda *_: None)
    batch = stage.micro_batches(0)[0]
    print(stage.tokenizer.decode(batch.labels_BxT[0].clamp(0).tolist()), batch.weight)
    print("=== 自测通过 ===")
