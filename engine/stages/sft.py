"""Supervised fine-tuning: packed conversations, next-token loss on the assistant's turns."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import torch

from lmm_tui.data.batching.mixed_batches import MixedBatches
from lmm_tui.data.batching.mixture import Mixture
from lmm_tui.data.batching.packing import Packed, PackedBatches, Rows, pack
from lmm_tui.data.chat.conversations import Chats, read_conversations
from lmm_tui.data.chat.rendering import TalkRendering
from lmm_tui.data.chat.whole_check import differences
from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.data.text.corpus import BUILTIN
from lmm_tui.data.text.dataset import joined
from lmm_tui.data.tokenizing.learnt_tokens import LearntTokens
from lmm_tui.data.turns import Conversation
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.generation.exact_match import exact_match
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.stages.chat_base import ChatStage, kinds_of, packed_batch, read_sides
from lmm_tui.engine.stages.likelihood import LikelihoodStage
from lmm_tui.engine.stages.mixture_parts import mix, source_names
from lmm_tui.message import Message
from lmm_tui.metrics.names import VAL_EXACT
from lmm_tui.metrics.stages.sft import SFT

log = logging.getLogger("engine")

_QUESTIONS = 32
"""Validation questions of each built-in kind."""


class SftStage(ChatStage, LikelihoodStage[Rows]):
    """Conversations packed into rows of one length, where none attends to another."""

    info = SFT

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        data, train = config.data, config.train
        progress(Message("reading conversations"), 0, 0)
        given = read_sides(read_conversations, data, "train")
        chats = joined(given)
        super().__init__(config, chats, _texts, progress)
        progress(Message("packing conversations"), 0, 0)
        parts = [self._pack(one, data.seq_len) for one in (given if data.sources else [chats])]
        self.warn_of_skipped(chats if not data.sources else given[0], data.named)
        for one in given[1:] if data.sources else ():
            self.warn_of_skipped(one, data.named)
        if data.tokenizer is not None:
            talks = (talk.turns for talk in chats)
            self.warnings += differences(talks, self.tokenizer, self.template)
        for packed in parts:
            self._warn_of_cut(packed)
        self.data_fingerprint = "".join(packed.fingerprint for packed in parts)
        batches = [PackedBatches(packed, train.batch_size, train.seed) for packed in parts]
        vals = self._read_validation(config)
        self._set_parts(config, device, batches, vals)
        self._quiz_kinds = kinds_of(data) if BUILTIN in data.named else ()
        rows = (next((val for val in vals if val), batches[0])).get(0)
        first = (rows.segments[0] == 1).nonzero()[0]
        self.probe_sequence = rows.ids[0, first].tolist()

    def _set_parts(
        self,
        config: RunConfig,
        device: torch.device,
        batches: list[PackedBatches],
        vals: list[PackedBatches | None],
    ) -> None:
        data = config.data
        if not data.sources:
            self._set_batches(config, device, batches[0], vals[0], batches[0].epoch)
            return
        self.data_fingerprint += f" {data.sources}"
        mixed = mix(config, batches)
        self.warnings += mixed.warnings
        there = [val for val in vals if val]
        even = MixedBatches(there, Mixture([1] * len(there), [None] * len(there)), 1)
        val = even if there else None
        self._set_batches(config, device, mixed.batches, val, mixed.batches.epoch)
        named = zip(source_names(data.sources), data.sources, vals, strict=True)
        self._set_validation_parts([(name, one.weight, val) for name, one, val in named if val])

    def _pack(self, chats: Chats, seq_len: int) -> Packed:
        answers = TalkRendering[Conversation](lambda talk: (talk,), self.tokenizer, self.template)
        return pack(self.prepared(chats, answers), seq_len)

    def validate(self, model: LanguageModel) -> dict[str, float]:
        found = self.validation_losses(model) if self._val else {}
        if not self._quiz_kinds:
            return found
        shares = self.by_leader(
            model,
            lambda whole: exact_match(
                whole,
                self.tokenizer,
                kinds=self._quiz_kinds,
                questions=_QUESTIONS,
                template=self.template,
            ),
        )
        return found | {VAL_EXACT: sum(shares.values()) / len(shares)}

    def _read_validation(self, config: RunConfig) -> list[PackedBatches | None]:
        """Of each source of a mixture, else of all; None where nothing is held out."""
        given = read_sides(read_conversations, config.data, "test")
        self.ask_own_questions(config.data.named, (talk.turns for talk in joined(given)))
        found: list[PackedBatches | None] = []
        for chats in given if config.data.sources else [joined(given)]:
            try:
                packed = self._pack(chats, config.data.seq_len)
            except DataError as error:
                self.warnings.append(Message("no validation: {error}", error=error))
                found.append(None)
            else:
                found.append(PackedBatches(packed, config.train.batch_size, None))
        return found

    def _warn_of_cut(self, packed: Packed) -> None:
        if packed.truncated or packed.dropped:
            self.warnings.append(
                Message(
                    "of {conversations} conversations {truncated} were longer than "
                    "{seq_len} tokens and lost their end, {dropped} had no answer "
                    "within them and were left out",
                    conversations=packed.conversations + packed.dropped,
                    truncated=packed.truncated,
                    seq_len=packed.seq_len,
                    dropped=packed.dropped,
                )
            )
        log.info(
            "%d conversations in %d rows, %.1f %% full, %d labels",
            packed.conversations,
            packed.rows,
            100 * packed.fill,
            packed.learnt,
        )

    def _to_micro_batch(self, rows: Rows) -> MicroBatch:
        return packed_batch(rows, self._device, weight=int((rows.labels >= 0).sum()))


def _texts(talk: Conversation) -> Iterator[str]:
    return (turn.content for turn in talk.turns)


if __name__ == "__main__":
    from types import SimpleNamespace
    from typing import Any

    told = [([1, 2, 3], [False, True, True]), ([1, 4], [False, True])]
    packed = pack(LearntTokens.of(told), 8)
    demo: Any = SimpleNamespace(_device=torch.device("cpu"))
    print(SftStage._to_micro_batch(demo, PackedBatches(packed, 1, None).get(0)))
    print("=== 自测通过 ===")
