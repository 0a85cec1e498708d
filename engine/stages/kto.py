"""KTO: answers with a verdict, good or bad, that need no second answer to the same prompt.

A reward counts from a reference point, an estimate of the KL divergence from the reference: the
mean log ratio of answers to other prompts than their own, under the policy as it is at the step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmm_tui.data.batching.order import Order
from lmm_tui.data.builtin.holdout import Split
from lmm_tui.data.chat.answers import answered
from lmm_tui.data.chat.kept_examples import KeptAnswers, ReadWhenAsked
from lmm_tui.data.chat.labelled import LabelledRow, read_labelled
from lmm_tui.data.chat.spans import Rendered
from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.data.text.dataset import Dataset
from lmm_tui.data.turns import Conversation
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.generation.generate import evaluating
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages.answer_batch import AnswerBatch, Answers
from lmm_tui.engine.stages.base import Losses, MicroBatch
from lmm_tui.engine.stages.chat_base import read_side
from lmm_tui.engine.stages.preference_base import AnswerSet, PreferenceStage
from lmm_tui.engine.stages.preference_loss import unpaired_loss
from lmm_tui.engine.transfer import to_device
from lmm_tui.message import Message
from lmm_tui.metrics.stages.kto import KTO


@dataclass(frozen=True, kw_only=True)
class LabelledBatch(AnswerBatch):
    """B answers with their verdicts."""

    good_B: Tensor
    """bool."""
    kl: float
    """The reference point, in nats: of the whole step."""
    good_share: float
    """Of the answers of the whole step."""

    def known_part(self, first: int, last: int) -> dict[str, Any]:
        return {
            "good_B": self.good_B[first:last],
            "kl": self.kl,
            "good_share": self.good_share,
        }


class _Crossed(ReadWhenAsked[Answers]):
    """Each prompt with the answer to another one, made when it is asked for."""

    def __init__(self, items: Sequence[Answers], seq_len: int) -> None:
        self._items, self._most = items, seq_len + 1
        # A circle through all of them in any order: none is its own neighbour.
        circle = Order(len(items), seed=0).take(0, len(items)) if items else np.array([], np.int64)
        self._others = np.zeros(len(items), np.int64)
        self._others[circle] = np.roll(circle, 1)

    def __len__(self) -> int:
        return len(self._items)

    def item(self, at: int) -> Answers:
        (asked,), (other,) = self._items[at], self._items[int(self._others[at])]
        return (_crossed(asked, other, self._most),)


class _Side:
    """Answers with their verdicts, and each prompt with the answer to another one."""

    def __init__(self, answers: AnswerSet, good_P: Tensor, seq_len: int) -> None:
        self.answers, self.good_P = answers, good_P
        self.crossed = AnswerSet(_Crossed(answers.items, seq_len))


class KtoStage(PreferenceStage):
    """`train.batch_size` counts answers."""

    info = KTO
    width = 1
    examples = Message("answers")
    batch_type = AnswerBatch

    deterministic = False  # The reference point of a step comes from the model as it was then.

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        super().__init__(config, device, progress)
        self._settings = config.kto
        self.baselines = {}
        self._sides = {
            "train": self._side(self._train, "train"),
            "test": self._side(self._val, "test"),
        }
        self._warn_of_imbalance(self._sides["train"].good_P)

    def read(self, side: Split) -> Dataset[LabelledRow]:
        return read_side(read_labelled, self._config.data, side)

    def conversations(self, row: LabelledRow) -> Iterator[Conversation]:
        return (answered(one.prompt, one.answer) for one in row)

    def begin(self, model: LanguageModel, run_dir: RunDir, fresh: bool) -> None:
        self._model = model
        train, val = self._sides["train"], self._sides["test"]
        sets = {"train": train.answers, "val": val.answers}
        if self._settings.loss == "kto":
            sets |= {"train, other prompts": train.crossed, "val, other prompts": val.crossed}
        self.take_reference(model, run_dir, fresh, sets)

    def micro_batches(self, step: int) -> list[MicroBatch]:
        return [*self._batches(self._sides["train"], self.indices(step))]

    def validation_batches(self) -> Iterator[MicroBatch]:
        every = self.in_order(self._val, self._config.log.val_sequences)
        yield from self._batches(self._sides["test"], every)

    def loss(self, model: LanguageModel, batch: MicroBatch) -> Losses:
        assert isinstance(batch, LabelledBatch) and batch.reference_WxB is not None
        settings, good_B = self._settings, batch.good_B
        [policy_B], [reference_B] = batch.answer_log_probs(model), batch.reference_WxB
        losses_B = unpaired_loss(
            policy_B, reference_B, good_B, kl=batch.kl, beta=settings.beta, kind=settings.loss
        )
        weights_B = torch.where(good_B, settings.good_weight, settings.bad_weight)
        rewards_B = settings.beta * (policy_B - reference_B).detach()
        above_B = rewards_B > settings.beta * batch.kl
        # The loop divides by all answers of the step; a mean is over the good or the bad ones.
        good = _share((rewards_B * good_B).sum(), batch.good_share)
        bad = _share((rewards_B * ~good_B).sum(), 1 - batch.good_share)
        return (weights_B * losses_B).sum(), {
            "kto/margin": good - bad,
            "kto/accuracy": (above_B == good_B).float().sum(),
            "kto/good_reward": good,
            "kto/bad_reward": bad,
            "kto/kl": rewards_B.new_tensor(batch.kl * batch.weight),
            "kto/good_share": good_B.float().sum(),
        }

    def crossed(self, side: Split) -> Sequence[Answers]:
        """Each prompt with the answer to another one, by the number of the example."""
        return self._sides[side].crossed.items

    def _batches(self, side: _Side, every: Sequence[NDArray[np.int64]]) -> Iterator[LabelledBatch]:
        """Of the examples of a step, or of all validation: they have one reference point."""
        if not every:
            return
        kl = self._reference_point(side.crossed, every)
        good_share = float(side.good_P[np.concatenate([*every])].float().mean())
        for indices in every:
            yield LabelledBatch.of(
                [side.answers.items[at] for at in indices],
                side.answers.reference_of(indices),
                self._config.data.seq_len,
                self._device,
                good_B=to_device(side.good_P[indices], self._device),
                kl=kl,
                good_share=good_share,
            )

    @torch.no_grad()
    def _reference_point(self, crossed: AnswerSet, every: Sequence[NDArray[np.int64]]) -> float:
        """The estimated KL divergence in nats, at least 0."""
        if self._settings.loss != "kto":
            return 0.0
        totals: list[float] = []
        with evaluating(self._model):
            for group, indices in self.ranks.in_turn(every):
                batch = self.batch(crossed, indices)
                policy_WxB = self._model(batch.answer_log_probs)
                assert batch.reference_WxB is not None
                ratio = float((policy_WxB - batch.reference_WxB).sum())
                totals += self.ranks.gather(ratio)[: len(group)]
        return max(0.0, math.fsum(totals) / sum(map(len, every)))

    def _side(self, answers: AnswerSet, side: Split) -> _Side:
        verdicts = np.fromiter((one.good for row in self.read(side) for one in row), np.bool_)
        assert isinstance(answers.items, KeptAnswers)
        good_P = torch.from_numpy(verdicts[answers.items.kept])
        return _Side(answers, good_P, self._config.data.seq_len)

    def _warn_of_imbalance(self, good_P: Tensor) -> None:
        """By the bounds of arXiv 2402.01306, equation 9: the weights of all good answers are 1 to
        4/3 times those of all bad ones."""
        good, bad = int(good_P.sum()), int((~good_P).sum())
        if not good or not bad:
            self.warnings.append(
                Message(
                    "all {count} answers are {verdict}; KTO learns from good and bad ones",
                    count=good or bad,
                    verdict=Message("good") if good else Message("bad"),
                )
            )
            return
        settings = self._settings
        balance = settings.good_weight * good / max(settings.bad_weight * bad, 1e-9)
        if good != bad and not 0.99 <= balance <= 1.34:
            least = settings.bad_weight * bad / good
            self.warnings.append(
                Message(
                    "{good} good and {bad} bad answers: kto.good_weight between {least:.2f} and "
                    "{most:.2f} would balance them",
                    good=good,
                    bad=bad,
                    least=least,
                    most=least * 4 / 3,
                )
            )


def _crossed(asked: Rendered, other: Rendered, most: int) -> Rendered:
    """The prompt of one with the answer of the other, of up to `most` tokens."""
    prompt, answer = asked[1].index(True), other[1].index(True)
    ids = asked[0][:prompt] + other[0][answer:]
    return ids[:most], (asked[1][:prompt] + other[1][answer:])[:most]


def _share(total: Tensor, share: float) -> Tensor:
    return total / share if share else total.new_tensor(math.nan)


if __name__ == "__main__":
    import json
    import tempfile
    from pathlib import Path

    from lmm_tui.engine.config.resolve import resolve

    first: Rendered = ([1, 2, 3], [False, True, True])
    second: Rendered = ([7, 7, 8, 9], [False, False, True, True])
    assert _crossed(first, second, 9)[0] == [1, 8, 9]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pairs.jsonl")
        rows = ({"prompt": f"{n}?", "chosen": f"{n}", "rejected": "no"} for n in range(99))
        file.write_text("\n".join(map(json.dumps, rows)))
        few = {"stage": "kto", "data.source": str(file), "model.vocab_size": 300}
        settings = resolve(assignments=few).completed()
        stage = KtoStage(settings, torch.device("cpu"), lambda *_: None)
    print(len(stage.probe_sequence), stage.steps_per_epoch)
    print("=== 自测通过 ===")
