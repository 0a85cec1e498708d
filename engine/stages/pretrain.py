"""Pretraining: packed documents, next-token loss on every position."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch

from data.batches import Batches
from data.prepare import Progress, prepare
from engine.config import RunConfig
from engine.device import to_device
from engine.loss import loss_sum
from engine.model import Decoder
from engine.stages.base import Losses, MicroBatch, Stage, mean_losses
from metrics.names import VAL_BITS_PER_BYTE, VAL_LOSS


class PretrainStage(Stage):
    """Text, tokenised once and cut into full sequences."""

    prompts = ("Once upon a time", "小兔子", "12 + 7 =", "def ")

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        data, train = config.data, config.train
        corpus = prepare(
            data.source,
            tokenizer=data.tokenizer,
            vocab_size=config.model.shape().vocab_size,
            seq_len=data.seq_len,
            val_fraction=data.val_fraction,
            builtin_mb=data.builtin_mb,
            cache_dir=Path(data.cache_dir) if data.cache_dir else None,
            progress=progress,
        )
        self.tokenizer = corpus.tokenizer
        self._bytes_per_token = corpus.bytes_per_token
        self.references = {
            "ln V": math.log(corpus.tokenizer.vocab_size),
            "unigram": corpus.unigram_entropy,
            "bigram": corpus.bigram_entropy,
        }
        self.notes = []
        if corpus.skipped_count:
            self.notes.append(
                f"{corpus.skipped_count} lines of {data.source} left out, the first: "
                f"{corpus.skipped[0]}"
            )
        self._device = device
        self._grad_accum = train.grad_accum
        self._val_batches = config.log.val_batches
        self._train = Batches(corpus.train, data.seq_len, train.batch_size, train.seed)
        self._val = Batches(corpus.val, data.seq_len, train.batch_size, None)
        self.specimen = self._val.get(0)[0][0].tolist()

    def micro_batches(self, step: int) -> list[MicroBatch]:
        first = step * self._grad_accum
        return [self._load(self._train, first + i) for i in range(self._grad_accum)]

    def loss(self, model: Decoder, batch: MicroBatch) -> Losses:
        return loss_sum(batch.hidden(model), model.head_weight, batch.labels_BxT), {}

    def held_out(self, model: Decoder) -> dict[str, float]:
        found = mean_losses(self, model, self.validation())
        bits_per_byte = found[VAL_LOSS] / math.log(2) / self._bytes_per_token
        return found | {VAL_BITS_PER_BYTE: bits_per_byte}

    def validation(self) -> Iterator[MicroBatch]:
        """The same held-out micro-batches every time."""
        for index in range(min(self._val_batches, len(self._val))):
            yield self._load(self._val, index)

    def _load(self, batches: Batches, index: int) -> MicroBatch:
        ids_BxT, labels_BxT = batches.get(index)
        return MicroBatch(
            to_device(ids_BxT, self._device),
            to_device(labels_BxT, self._device),
            weight=labels_BxT.size,
            tokens=labels_BxT.size,
        )


if __name__ == "__main__":
    import tempfile

    from engine.config import resolve

    with tempfile.TemporaryDirectory() as folder:
        settings = resolve(
            assignments={
                "data.builtin_mb": 0.1,
                "data.cache_dir": folder,
                "data.seq_len": 32,
                "train.batch_size": 2,
            }
        )
        stage = PretrainStage(settings, torch.device("cpu"), lambda label, done, total: None)
        model = Decoder(settings.model.shape(stage.tokenizer.vocab_size))
        model.init_weights(0)
        micro_batch = stage.micro_batches(0)[0]
        loss, _ = stage.loss(model, micro_batch)
        print(stage.references, loss.item() / micro_batch.weight)
    print("=== 自测通过 ===")
