"""Pretraining: documents joined into full sequences, next-token loss on every position."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import torch

from lmm_tui.data.batching.batches import Batches, Blocks
from lmm_tui.data.batching.mixed_batches import MixedBatches
from lmm_tui.data.batching.mixture import Mixture
from lmm_tui.data.batching.streamed_batches import WINDOW, HeldOut, StreamedBatches
from lmm_tui.data.preparation.prepare import Corpus, Progress, prepare
from lmm_tui.data.preparation.prepare_mixture import prepare_mixture
from lmm_tui.data.preparation.stream import TokenStream, stream
from lmm_tui.data.text.corpus import BUILTIN, open_text
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.model.layout import ALL
from lmm_tui.engine.stages.base import MicroBatch, columns_notes, unused_note
from lmm_tui.engine.stages.likelihood import LikelihoodStage
from lmm_tui.engine.stages.mixture_parts import mix, source_names
from lmm_tui.engine.stages.own_prompts import beginnings, spread
from lmm_tui.engine.transfer import integers_to_device
from lmm_tui.message import Message
from lmm_tui.metrics.names import VAL_BITS_PER_BYTE, VAL_LOSS
from lmm_tui.metrics.stages.pretrain import PRETRAIN

_PROMPT_TOKENS = 32
"""Of a sequence, in which the prompt of a sample is looked for."""


class PretrainStage(LikelihoodStage[Blocks]):
    """Text that is tokenised once and cut into sequences of one length."""

    info = PRETRAIN
    recordable = True

    prompts: tuple[str, ...] = ("Once upon a time", "小兔子", "12 + 7 =", "def ")
    _stream: TokenStream | None = None
    """Until all of it is tokenised."""

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        data = config.data
        self._named = data.named
        if data.stream:
            self._start_stream(config, device, progress)
            return
        corpora = self._prepare(config, progress)
        self.tokenizer = corpora[0].tokenizer
        prints = [corpus.fingerprint for corpus in corpora]
        self.data_fingerprint = prints[0] if len(prints) == 1 else f"{prints} {data.sources}"
        self.baselines = {"ln V": math.log(self.tokenizer.vocab_size)}
        if len(corpora) == 1:  # Of a mixture they would be those of the mixed text, not a mean.
            self.baselines["unigram"] = corpora[0].unigram_entropy
            self.baselines["bigram"] = corpora[0].bigram_entropy
        self.cache_entries = tuple(corpus.entry for corpus in corpora)
        self.warnings, self.notes = [], ()
        names = [[one] for one in data.named] if len(corpora) > 1 else [data.named]
        for sources, corpus in zip(names, corpora, strict=True):
            self._report(sources, corpus)
        self._batch(config, device, corpora)

    def _prepare(self, config: RunConfig, progress: Progress) -> list[Corpus]:
        data = config.data
        settings: dict[str, Any] = {
            "tokenizer": data.tokenizer,
            "vocab_size": config.model.shape().vocab_size,
            "seq_len": data.seq_len,
            "val_fraction": data.val_fraction,
            "builtin_mb": data.builtin_mb,
            "cache_dir": data.cache_folder,
            "progress": progress,
            "threads": config.train.threads,
        }
        if not data.sources:
            return [prepare(data.inputs, **settings)]
        return prepare_mixture(data.inputs, [one.weight for one in data.sources], **settings)

    def _report(self, sources: Sequence[str], corpus: Corpus) -> None:
        """Collect what to say of how a corpus was read."""
        self.notes += columns_notes(sources, corpus.columns, corpus.chosen)
        self.warnings += corpus.notes
        if corpus.unused:
            self.warnings.append(unused_note(sources, corpus.unused))
        if corpus.skipped_count:
            self.warnings.append(
                Message(
                    "{skipped_count} lines of {sources} left out, the first: {skipped}",
                    skipped_count=corpus.skipped_count,
                    sources=[*sources],
                    skipped=corpus.skipped[0],
                )
            )

    def _batch(self, config: RunConfig, device: torch.device, corpora: Sequence[Corpus]) -> None:
        data, train = config.data, config.train
        parts = [
            Batches(corpus.train, data.seq_len, train.batch_size, train.seed) for corpus in corpora
        ]
        vals = [Batches(corpus.val, data.seq_len, train.batch_size, None) for corpus in corpora]
        if not data.sources:
            self._set_batches(config, device, parts[0], vals[0], parts[0].epoch)
        else:
            mixed = mix(config, parts)
            self.warnings += mixed.warnings
            even = MixedBatches(
                vals, Mixture([1] * len(vals), [None] * len(vals)), train.batch_size
            )
            self._set_batches(config, device, mixed.batches, even, mixed.batches.epoch)
            weights = [one.weight for one in data.sources]
            named = zip(source_names(data.sources), weights, vals, strict=True)
            self._set_validation_parts([*named])
        self.probe_sequence = vals[0].get(0).ids[0].tolist()
        if BUILTIN not in data.named:
            found = zip(*(_from_everywhere(val, train.batch_size) for val in vals), strict=False)
            self.prompts = beginnings(self._texts(chain(*found)), self.prompts)

    def _start_stream(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        data, train = config.data, config.train
        if data.sources or train.epochs is not None:
            raise ConfigError(
                "data.stream: the length of the text is not known while it is streamed; give "
                "train.steps, and data.source instead of data.sources"
            )
        text = open_text(data.inputs, data.builtin_mb)
        self._stream = tokens = stream(
            text,
            tokenizer=data.tokenizer,
            vocab_size=config.model.shape().vocab_size,
            cache_dir=data.cache_folder,
            progress=progress,
            threads=train.threads,
        )
        self.tokenizer, self.data_fingerprint = tokens.tokenizer, tokens.entry.name
        self.baselines = {"ln V": math.log(self.tokenizer.vocab_size)}
        self.warnings = []
        progress(Message("waiting for the first tokens"), 0, 0)
        val = HeldOut(tokens, data.seq_len, train.batch_size)
        self.notes = (
            *text.notes,
            Message(
                "the text is tokenised while it is trained on; its first {held_out} sequences are "
                "for validation, the others come in their order, shuffled {window} at a time",
                held_out=val.blocks,
                window=WINDOW,
            ),
        )
        self._set_batches(
            config,
            device,
            StreamedBatches(tokens, data.seq_len, train.batch_size, train.seed, val.blocks),
            val,
            # About: the length of the text follows from what its first tokens have of it.
            epoch=text.size / tokens.bytes * tokens.tokens / data.seq_len / train.batch_size,
        )
        self.probe_sequence = val.get(0).ids[0].tolist()
        if BUILTIN not in data.named:
            self.prompts = beginnings(
                self._texts(_from_everywhere(val, train.batch_size)), self.prompts
            )

    def micro_batches(self, step: int) -> list[MicroBatch]:
        found = super().micro_batches(step)
        if self._stream is not None and self._stream.total is not None:
            skipped, self._stream = self._stream.skipped, None
            self.warnings += skipped.lacking_notes
            if skipped.unused:
                self.warnings.append(unused_note(self._named, [*skipped.unused]))
            if skipped.count:
                self.warnings.append(
                    Message(
                        "{count} lines of {named} left out",
                        count=skipped.count,
                        named=[*self._named],
                    )
                )
        return found

    def validate(self, model: LanguageModel) -> dict[str, float]:
        found = self.validation_losses(model)
        bits_per_byte = found[VAL_LOSS] / math.log(2) / self._bytes_per_label
        return found | {VAL_BITS_PER_BYTE: bits_per_byte}

    def _texts(self, sequences: Iterable[np.ndarray]) -> Iterator[str]:
        """The text of their first tokens."""
        return (self.tokenizer.decode(ids[:_PROMPT_TOKENS].tolist()) for ids in sequences)

    @cached_property
    def _bytes_per_label(self) -> float:
        """Bytes of text that a label of the validation batches stands for, on average."""
        assert self._val is not None
        parts = self._val_parts or [("", 1.0, self._val)]
        share = max(1, self._val_sequences // len(parts))
        whole = sum(weight for _, weight, _ in parts) or 1.0
        return sum(
            weight / whole * self._bytes_of(batches.once(share)) for _, weight, batches in parts
        )

    def _bytes_of(self, batches: Iterator[Blocks]) -> float:
        labels = np.concatenate([rows.labels.ravel() for rows in batches])
        return float(self.tokenizer.byte_lengths[labels].mean())

    def _to_micro_batch(self, rows: Blocks) -> MicroBatch:
        tokens_BxT1 = rows.tokens
        (wide_BxT1,) = integers_to_device([tokens_BxT1], self._device)
        size = tokens_BxT1.size - len(tokens_BxT1)
        return MicroBatch(
            wide_BxT1[:, :-1].contiguous(),
            wide_BxT1[:, 1:].contiguous(),
            weight=size,
            tokens=size,
            counted=ALL,
        )


def _from_everywhere(val: Batches | HeldOut, batch_size: int) -> Iterator[np.ndarray]:
    """Validation sequences from all over the text."""
    for block in spread(val.blocks):
        yield val.get(block // batch_size).ids[block % batch_size]


if __name__ == "__main__":
    import tempfile

    from lmm_tui.engine.config.resolve import resolve

    with tempfile.TemporaryDirectory() as folder:
        settings = resolve(assignments={"data.builtin_mb": 0.1, "data.cache_dir": folder})
        stage = PretrainStage(settings.completed(), torch.device("cpu"), lambda *_: None)
        print(stage.micro_batches(0)[0].ids_BxT, stage.baselines)
    print("=== 自测通过 ===")
