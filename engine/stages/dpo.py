"""Direct preference optimisation: pairs of answers to one prompt, the better one made likelier.

Both answers of a pair are packed into rows as conversations are, so one forward pass sees a whole
micro-batch next to no padding. The reference's log-probabilities are computed once, before the
first step, and kept in the run directory; or every time, by a second model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmm_tui.data.batching.order import Order
from lmm_tui.data.chat.preferences import read_pairs
from lmm_tui.data.chat.spans import Rendered
from lmm_tui.data.chat.template import render_all
from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.data.turns import Conversation, Pair
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.generation.generate import evaluating
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.loss import token_log_probs
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages import reference_model
from lmm_tui.engine.stages.base import Losses, MicroBatch, mean_losses
from lmm_tui.engine.stages.chat_base import ChatStage, pack_answers, packed_batch, read_side
from lmm_tui.engine.stages.preference_loss import dpo_loss, implicit_rewards
from lmm_tui.errors import LmmError


@dataclass(frozen=True, kw_only=True)
class PairBatch(MicroBatch):
    """B pairs, as 2B answers in packed rows: the chosen ones, then the rejected ones."""

    unit: ClassVar[str] = "pair of answers"

    pairs: Sequence[tuple[Rendered, Rendered]]
    """Chosen and rejected, before they were packed."""
    answer_of_N: Tensor
    """Which of the 2B answers each counted label belongs to."""
    lengths_2xB: Tensor
    """Counted labels of each answer."""
    reference_2xB: Tensor | None
    """Log-probabilities under the reference; None where the live one is to be asked."""

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
        rows, answer_of = pack_answers(answers, seq_len)
        return cls(
            **vars(packed_batch(rows, device, weight=len(pairs))),
            pairs=pairs,
            answer_of_N=torch.from_numpy(answer_of).to(device),
            lengths_2xB=torch.from_numpy(np.bincount(answer_of).reshape(2, -1)).to(device),
            reference_2xB=None if reference_2xB is None else reference_2xB.to(device),
        )

    @property
    def units(self) -> int:
        return len(self.pairs)

    def part(self, first: int, last: int) -> Self:
        known = self.reference_2xB
        return self.of(
            self.pairs[first:last],
            None if known is None else known[:, first:last],
            seq_len=self.ids_BxT.shape[1],
            device=self.ids_BxT.device,
        )


class _Pairs:
    """Rendered pairs, and the reference's log-probabilities where they are known."""

    def __init__(self, rendered: Iterator[Rendered], seq_len: int) -> None:
        """`rendered` gives chosen and rejected in turns; pairs with a long one are left out."""
        self.items: list[tuple[Rendered, Rendered]] = []
        self.too_long = 0
        for chosen, rejected in zip(rendered, rendered, strict=True):
            if max(len(chosen[0]), len(rejected[0])) <= seq_len + 1:
                self.items.append((chosen, rejected))
            else:
                self.too_long += 1
        self.reference_Px2: Tensor | None = None


class DpoStage(ChatStage):
    """The loss of a step is the mean over its pairs; `train.batch_size` counts pairs."""

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        data = config.data
        progress("reading pairs", 0, 0)
        pairs = read_side(read_pairs, data, "train")
        super().__init__(config, _contents(pairs))
        self._config, self._settings = config, config.dpo
        self._device, self._progress = device, progress
        self._train = self._render(pairs)
        self._val = self._render(read_side(read_pairs, data, "test"))
        self.note_skipped(pairs, data.source)
        if not self._train.items:
            raise DataError(f"data.source: no pair in {data.seq_len} tokens; raise data.seq_len")
        if self._train.too_long:
            self.notes.append(
                f"{self._train.too_long} pairs left out, longer than {data.seq_len} tokens"
            )
        if not self._val.items:
            self.notes.append("no validation: no pair is held out")
        self._order = Order(len(self._train.items), config.train.seed)
        train = config.train
        self.steps_per_epoch = len(self._train.items) / (train.batch_size * train.grad_accum)
        self._live: Decoder | None = None
        self.references = {"ln 2": math.log(2)}
        self.specimen = (self._val.items or self._train.items)[0][0][0]

    def begin(self, model: Decoder, run_dir: RunDir, fresh: bool) -> None:
        if self._settings.reference == "live":
            self._live = reference_model.frozen_model(model, run_dir, fresh)
            return
        sets = {"train": self._train, "val": self._val}
        if fresh:
            measured = {name: self._measure(model, pairs, name) for name, pairs in sets.items()}
            reference_model.keep(run_dir, measured)
        kept = reference_model.read(run_dir)
        for name, pairs in sets.items():
            if len(kept[name]) != len(pairs.items):
                raise LmmError(
                    f"data.source: has {len(pairs.items)} {name} pairs, the run began with "
                    f"{len(kept[name])}; resume it with the same data"
                )
            pairs.reference_Px2 = kept[name]

    def micro_batches(self, step: int) -> list[MicroBatch]:
        train = self._config.train
        first = step * train.grad_accum
        return [
            self._batch(self._train, self._order.take(first + i, train.batch_size))
            for i in range(train.grad_accum)
        ]

    def loss(self, model: Decoder, batch: MicroBatch) -> Losses:
        assert isinstance(batch, PairBatch)
        policy = _answer_log_probs(model, batch)
        fixed = batch.reference_2xB
        if fixed is None:
            assert self._live is not None
            with torch.no_grad():
                fixed = _answer_log_probs(self._live, batch)
        settings = self._settings
        losses_B = dpo_loss(
            policy[0],
            policy[1],
            fixed[0],
            fixed[1],
            beta=settings.beta,
            label_smoothing=settings.label_smoothing,
            kind=settings.loss,
            chosen_lengths_B=batch.lengths_2xB[0],
            rejected_lengths_B=batch.lengths_2xB[1],
        )
        rewards = implicit_rewards(policy[0], policy[1], fixed[0], fixed[1], beta=settings.beta)
        chosen_logp, rejected_logp = policy.detach().sum(1)
        return losses_B.sum(), {
            "dpo/margin": rewards.margin_B.sum(),
            "dpo/accuracy": rewards.accuracy_B.sum(),
            "dpo/chosen_reward": rewards.chosen_B.sum(),
            "dpo/rejected_reward": rewards.rejected_B.sum(),
            "dpo/chosen_logp": chosen_logp,
            "dpo/rejected_logp": rejected_logp,
        }

    def held_out(self, model: Decoder) -> dict[str, float]:
        return mean_losses(self, model, self._validation()) if self._val.items else {}

    def _validation(self) -> Iterator[MicroBatch]:
        size = self._config.train.batch_size
        most = min(len(self._val.items), size * self._config.log.val_batches)
        for start in range(0, most, size):
            yield self._batch(self._val, np.arange(start, min(start + size, most)))

    def _measure(self, model: Decoder, pairs: _Pairs, name: str) -> Tensor:
        """The reference's log-probabilities, (P, 2)."""
        size, count = self._config.train.batch_size, len(pairs.items)
        found = [torch.zeros(0, 2)]
        with torch.no_grad(), evaluating(model):
            for start in range(0, count, size):
                self._progress(f"reference log-probs, {name}", start, count)
                batch = self._batch(pairs, np.arange(start, min(start + size, count)))
                found.append(_answer_log_probs(model, batch).T.cpu())
        return torch.cat(found)

    def _batch(self, pairs: _Pairs, indices: NDArray[np.int64]) -> PairBatch:
        known = pairs.reference_Px2
        return PairBatch.of(
            [pairs.items[at] for at in indices],
            None if known is None else known[indices].T,
            self._config.data.seq_len,
            self._device,
        )

    def _render(self, pairs: Iterable[Pair]) -> _Pairs:
        talks = (
            Conversation(pair.prompt + answer)
            for pair in pairs
            for answer in (pair.chosen, pair.rejected)
        )
        rendered = render_all(talks, self.tokenizer, self.template)
        return _Pairs(rendered, self._config.data.seq_len)


def _contents(pairs: Iterable[Pair]) -> Iterator[str]:
    for pair in pairs:
        yield from (turn.content for turn in pair.prompt + pair.chosen + pair.rejected)


def _answer_log_probs(model: Decoder, batch: PairBatch) -> Tensor:
    """log p of each answer given its prompt, (2, B)."""
    found = token_log_probs(batch.hidden(model), model.head_weight, batch.labels_BxT)
    sums = found.log_p_N.new_zeros(2 * batch.weight)
    return sums.index_add(0, batch.answer_of_N, found.log_p_N).view(2, -1)


if __name__ == "__main__":
    import json
    import tempfile
    from pathlib import Path

    from lmm_tui.engine.config.resolve import resolve

    lines = (
        json.dumps({"prompt": f"{n} + 1?", "chosen": str(n + 1), "rejected": str(n)})
        for n in range(99)
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.jsonl"
        file.write_text("\n".join(lines), encoding="utf-8")
        settings = resolve(
            assignments={
                "stage": "dpo",
                "data.source": str(file),
                "data.seq_len": 64,
                "train.batch_size": 8,
            }
        )
        stage = DpoStage(settings, torch.device("cpu"), lambda label, done, total: None)
        model = Decoder(settings.model.shape(stage.tokenizer.vocab_size))
        model.init_weights(0)
        stage.begin(model, RunDir(folder), fresh=True)
    micro_batch = stage.micro_batches(0)[0]
    loss, sums = stage.loss(model, micro_batch)
    mean = loss.item() / micro_batch.weight
    print(mean, {name: value.item() / micro_batch.weight for name, value in sums.items()})
    assert abs(mean - stage.references["ln 2"]) < 1e-5
    print("=== 自测通过 ===")
