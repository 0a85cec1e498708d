"""Pretraining: documents joined into full sequences, next-token loss on every position."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from lmm_tui.data.batching.batches import Batches, IdsAndLabels
from lmm_tui.data.preparation.prepare import Progress, prepare
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.device import to_device
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.stages.base import MicroBatch, columns_notes, mean_losses, unused_note
from lmm_tui.engine.stages.likelihood import LikelihoodStage
from lmm_tui.metrics.names import VAL_BITS_PER_BYTE, VAL_LOSS


class PretrainStage(LikelihoodStage[IdsAndLabels]):
    """Text that is tokenised once and cut into sequences of one length."""

    prompts = ("Once upon a time", "小兔子", "12 + 7 =", "def ")

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        data, train = config.data, config.train
        corpus = prepare(
            data.inputs,
            tokenizer=data.tokenizer,
            vocab_size=config.model.shape().vocab_size,
            seq_len=data.seq_len,
            val_fraction=data.val_fraction,
            builtin_mb=data.builtin_mb,
            cache_dir=Path(data.cache_dir) if data.cache_dir else None,
            progress=progress,
            threads=train.threads,
        )
        self.tokenizer, self.data_fingerprint = corpus.tokenizer, corpus.fingerprint
        self.baselines = {
            "ln V": math.log(corpus.tokenizer.vocab_size),
            "unigram": corpus.unigram_entropy,
            "bigram": corpus.bigram_entropy,
        }
        self.cache_entry = corpus.entry
        self.warnings = [*corpus.notes]
        self.notes = columns_notes(data.named, corpus.columns, corpus.chosen)
        if corpus.unused:
            self.warnings.append(unused_note(data.named, corpus.unused))
        if corpus.skipped_count:
            self.warnings.append(
                f"{corpus.skipped_count} lines of {', '.join(data.named)} left out, the first: "
                f"{corpus.skipped[0]}"
            )
        val = Batches(corpus.val, data.seq_len, train.batch_size, None)
        self._set_batches(
            config,
            device,
            Batches(corpus.train, data.seq_len, train.batch_size, train.seed),
            val,
        )
        self.probe_sequence = val.get(0)[0][0].tolist()

    def validate(self, model: Decoder) -> dict[str, float]:
        found = mean_losses(self, model, self.validation_batches())
        bits_per_byte = found[VAL_LOSS] / math.log(2) / self._bytes_per_label
        return found | {VAL_BITS_PER_BYTE: bits_per_byte}

    @cached_property
    def _bytes_per_label(self) -> float:
        """Bytes of text that a label of the validation batches stands for, on average."""
        assert self._val is not None
        labels = np.concatenate([rows[1].ravel() for rows in self._val.once(self._val_sequences)])
        return float(self.tokenizer.byte_lengths[labels].mean())

    def _to_micro_batch(self, rows: IdsAndLabels) -> MicroBatch:
        ids_BxT, labels_BxT = rows
        return MicroBatch(
            to_device(ids_BxT, self._device),
            to_device(labels_BxT, self._device),
            weight=labels_BxT.size,
            tokens=labels_BxT.size,
        )


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.config.resolve import resolve

    with tempfile.TemporaryDirectory() as folder:
        settings = resolve(assignments={"data.builtin_mb": 0.1, "data.cache_dir": folder})
        stage = PretrainStage(settings.completed(), torch.device("cpu"), lambda *_: None)
        print(stage.micro_batches(0)[0].ids_BxT, stage.baselines)
    print("=== 自测通过 ===")
