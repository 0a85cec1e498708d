"""Supervised fine-tuning: packed conversations, loss on what the assistant says."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import torch

from data.chat import read_conversations
from data.corpus import BUILTIN
from data.dataset import Dataset
from data.errors import DataError
from data.holdout import Split
from data.packing import Packed, PackedBatches, Rows, pack
from data.prepare import Progress
from data.template import render_all
from data.turns import Conversation
from engine.config import RunConfig
from engine.device import to_device
from engine.loss import loss_sum
from engine.model import Decoder
from engine.quiz import exact_match
from engine.stages.base import Losses, MicroBatch, mean_losses
from engine.stages.chat import ChatStage, kinds_of
from metrics.names import VAL_EXACT

log = logging.getLogger("engine")

_QUESTIONS = 32
"""Held-out questions of each built-in kind that a validation asks."""


class SftStage(ChatStage):
    """Conversations in rows of one length; none of them sees another."""

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        data, train = config.data, config.train
        progress("reading conversations", 0, 0)
        chats = self._read(config, "train")
        super().__init__(config, (turn.content for talk in chats for turn in talk.turns))
        progress("packing conversations", 0, 0)
        packed = pack(render_all(chats, self.tokenizer, self.template), data.seq_len)
        self.note_skipped(chats, data.source)
        self._note_cut(packed)
        self._device = device
        self._grad_accum = train.grad_accum
        self._val_batches = config.log.val_batches
        self._train = PackedBatches(packed, train.batch_size, train.seed)
        self._val = self._held_out_batches(config)
        self._asked = kinds_of(data) if data.source == BUILTIN else ()
        rows = (self._val or self._train).get(0)
        first = (rows.segments[0] == 1).nonzero()[0]
        self.specimen = rows.ids[0, first].tolist()

    def micro_batches(self, step: int) -> list[MicroBatch]:
        first = step * self._grad_accum
        return [self._load(self._train, first + i) for i in range(self._grad_accum)]

    def loss(self, model: Decoder, batch: MicroBatch) -> Losses:
        return loss_sum(batch.hidden(model), model.head_weight, batch.labels_BxT), {}

    def held_out(self, model: Decoder) -> dict[str, float]:
        found = mean_losses(self, model, self.validation()) if self._val else {}
        if not self._asked:
            return found
        shares = exact_match(
            model,
            self.tokenizer,
            kinds=self._asked,
            questions=_QUESTIONS,
            template=self.template,
        )
        return found | {VAL_EXACT: sum(shares.values()) / len(shares)}

    def validation(self) -> Iterator[MicroBatch]:
        """The same held-out micro-batches every time."""
        assert self._val is not None
        for index in range(min(self._val_batches, len(self._val))):
            yield self._load(self._val, index)

    def _read(self, config: RunConfig, side: Split) -> Dataset[Conversation]:
        data = config.data
        return read_conversations(
            data.source, side=side, val_fraction=data.val_fraction, kinds=kinds_of(data)
        )

    def _held_out_batches(self, config: RunConfig) -> PackedBatches | None:
        chats = self._read(config, "test")
        try:
            packed = pack(render_all(chats, self.tokenizer, self.template), config.data.seq_len)
        except DataError as error:
            self.notes.append(f"no validation: {error}")
            return None
        return PackedBatches(packed, config.train.batch_size, None)

    def _note_cut(self, packed: Packed) -> None:
        if packed.truncated or packed.dropped:
            self.notes.append(
                f"of {packed.conversations + packed.dropped} conversations {packed.truncated} were "
                f"longer than {packed.seq_len} tokens and lost their end, {packed.dropped} had no "
                "answer within them and were left out"
            )
        log.info(
            "%d conversations in %d rows, %.1f %% full, %d labels",
            packed.conversations,
            packed.rows,
            100 * packed.fill,
            packed.learnt,
        )

    def _load(self, batches: PackedBatches, index: int) -> MicroBatch:
        rows = batches.get(index)
        return packed_batch(rows, self._device, weight=int((rows.labels >= 0).sum()))


def packed_batch(rows: Rows, device: torch.device, weight: int) -> MicroBatch:
    """Packed rows on the device."""
    return MicroBatch(
        to_device(rows.ids, device),
        to_device(rows.labels, device),
        weight=weight,
        tokens=int((rows.segments > 0).sum()),
        positions_BxT=to_device(rows.positions, device),
        segments_BxT=to_device(rows.segments, device),
    )


if __name__ == "__main__":
    import json
    import tempfile
    from pathlib import Path

    from engine.config import resolve

    lines = (json.dumps({"instruction": f"{n} + 1?", "output": str(n + 1)}) for n in range(99))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "alpaca.jsonl"
        file.write_text("\n".join(lines), encoding="utf-8")
        settings = resolve(
            assignments={
                "stage": "sft",
                "data.source": str(file),
                "data.seq_len": 64,
                "train.batch_size": 2,
            }
        )
        stage = SftStage(settings, torch.device("cpu"), lambda label, done, total: None)
    model = Decoder(settings.model.shape(stage.tokenizer.vocab_size))
    model.init_weights(0)
    micro_batch = stage.micro_batches(0)[0]
    loss, _ = stage.loss(model, micro_batch)
    learnt = micro_batch.labels_BxT[micro_batch.labels_BxT >= 0].tolist()
    print(stage.tokenizer.decode(learnt), loss.item() / micro_batch.weight, stage.references)
    assert len(learnt) == micro_batch.weight < micro_batch.tokens
    print("=== 自测通过 ===")
