"""Supervised fine-tuning: packed conversations, next-token loss on the assistant's turns."""

from __future__ import annotations

import logging

import torch

from lmm_tui.data.batching.packing import Packed, PackedBatches, Rows, pack
from lmm_tui.data.chat.conversations import read_conversations
from lmm_tui.data.chat.template import render_all
from lmm_tui.data.chat.whole_check import differences
from lmm_tui.data.errors import DataError
from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.data.text.corpus import BUILTIN
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.generation.exact_match import exact_match
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.stages.base import MicroBatch, mean_losses
from lmm_tui.engine.stages.chat_base import ChatStage, kinds_of, packed_batch, read_side
from lmm_tui.engine.stages.likelihood import LikelihoodStage
from lmm_tui.metrics.names import VAL_EXACT

log = logging.getLogger("engine")

_QUESTIONS = 32
"""Validation questions of each built-in kind."""


class SftStage(ChatStage, LikelihoodStage[Rows]):
    """Conversations packed into rows of one length, where none attends to another."""

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        data, train = config.data, config.train
        progress("reading conversations", 0, 0)
        chats = read_side(read_conversations, data, "train")
        super().__init__(config, (turn.content for talk in chats for turn in talk.turns))
        progress("packing conversations", 0, 0)
        packed = pack(render_all(chats, self.tokenizer, self.template), data.seq_len)
        self.warn_of_skipped(chats, data.named)
        if data.tokenizer is not None:
            talks = (talk.turns for talk in chats)
            self.warnings += differences(talks, self.tokenizer, self.template)
        self._warn_of_cut(packed)
        self.data_fingerprint = packed.fingerprint
        batches = PackedBatches(packed, train.batch_size, train.seed)
        val = self._read_validation(config)
        self._set_batches(config, device, batches, val)
        self._quiz_kinds = kinds_of(data) if BUILTIN in data.named else ()
        rows = (val or batches).get(0)
        first = (rows.segments[0] == 1).nonzero()[0]
        self.probe_sequence = rows.ids[0, first].tolist()

    def validate(self, model: Decoder) -> dict[str, float]:
        found = mean_losses(self, model, self.validation_batches()) if self._val else {}
        if not self._quiz_kinds:
            return found
        shares = exact_match(
            model,
            self.tokenizer,
            kinds=self._quiz_kinds,
            questions=_QUESTIONS,
            template=self.template,
        )
        return found | {VAL_EXACT: sum(shares.values()) / len(shares)}

    def _read_validation(self, config: RunConfig) -> PackedBatches | None:
        chats = read_side(read_conversations, config.data, "test")
        try:
            packed = pack(render_all(chats, self.tokenizer, self.template), config.data.seq_len)
        except DataError as error:
            self.warnings.append(f"no validation: {error}")
            return None
        return PackedBatches(packed, config.train.batch_size, None)

    def _warn_of_cut(self, packed: Packed) -> None:
        if packed.truncated or packed.dropped:
            self.warnings.append(
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

    def _to_micro_batch(self, rows: Rows) -> MicroBatch:
        return packed_batch(rows, self._device, weight=int((rows.labels >= 0).sum()))


if __name__ == "__main__":
    from types import SimpleNamespace
    from typing import Any

    packed = pack(iter([([1, 2, 3], [False, True, True]), ([1, 4], [False, True])]), 8)
    demo: Any = SimpleNamespace(_device=torch.device("cpu"))
    print(SftStage._to_micro_batch(demo, PackedBatches(packed, 1, None).get(0)))
    print("=== 自测通过 ===")
