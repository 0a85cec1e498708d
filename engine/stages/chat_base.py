"""What chat stages have in common: tokenizer, chat template, prompts, packing of conversations.

Its subclasses SFT, DPO and GRPO add their data and loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from lmm_tui.data.batching.packing import IGNORED, Packed, Rows
from lmm_tui.data.builtin.holdout import Split
from lmm_tui.data.builtin.task import KINDS
from lmm_tui.data.chat.chatml import ChatML
from lmm_tui.data.chat.rendering import Rendering
from lmm_tui.data.chat.spans import ChatTemplate, Rendered
from lmm_tui.data.chat.template import CHATML, render_prompt, stop_ids
from lmm_tui.data.chat.tokenizer_template import TokenizerTemplate
from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.data.preparation.prepare_rows import prepare_rows, tokenizer_of_rows
from lmm_tui.data.text.corpus import BUILTIN
from lmm_tui.data.text.dataset import Dataset, joined
from lmm_tui.data.text.source import Source
from lmm_tui.data.tokenizing.learnt_tokens import LearntTokens
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.data_config import DataConfig
from lmm_tui.engine.model.layout import (
    Counted,
    Segments,
    bounds_of,
    places_and_ends,
    sequence_lengths,
)
from lmm_tui.engine.stages.base import MicroBatch, Stage, unused_note
from lmm_tui.engine.stages.own_prompts import beginnings
from lmm_tui.engine.transfer import integers_to_device
from lmm_tui.message import Message

T = TypeVar("T")


_LONGEST_QUESTION = 160


class ReadRow(Protocol[T]):
    """`read_conversations`, `read_pairs` or `read_prompts`."""

    def __call__(
        self, source: Source, *, side: Split, val_fraction: float, kinds: Sequence[str]
    ) -> Dataset[T]: ...


class ChatStage(Stage):
    """A stage whose prompts are user turns and whose samples are assistant turns."""

    is_chat = True
    prompts: tuple[str, ...] = (
        "17 + 25 = ?",
        "把 3 1 2 从小到大排列。",
        "Reverse the word: river",
        "你好",
    )

    def __init__(
        self,
        config: RunConfig,
        rows: Dataset[T],
        texts: Callable[[T], Iterable[str]],
        progress: Progress,
    ) -> None:
        """A tokenizer is trained on the texts of `rows` unless the configuration has one."""
        if config.data.stream:
            raise ConfigError(
                "data.stream: is for the text of pretrain; rows are packed as a whole"
            )
        self._named = ", ".join(config.data.named)
        self._cache_dir = config.data.cache_folder
        self._progress = progress
        self.tokenizer, self.template = self._tokenizer_and_template(config, rows, texts)
        self.baselines = {"ln V": math.log(self.tokenizer.vocab_size)}
        self.warnings = []

    def prepared(self, rows: Dataset[T], rendering: Rendering[T]) -> LearntTokens:
        """The tokens of rows, by way of the cache."""
        found = prepare_rows(
            rows,
            rendering,
            named=self._named,
            cache_dir=self._cache_dir,
            progress=self._progress,
        )
        self.warnings += found.notes
        self.cache_entries += (found.entry,) if found.entry else ()
        return found.tokens

    def ask_own_questions(self, sources: Sequence[str], talks: Iterable[Sequence[Turn]]) -> None:
        """Sample with questions of the user's own validation data instead of built-in ones."""
        if BUILTIN not in sources:
            asked = (turn.content for turns in talks for turn in turns[:2] if turn.role == "user")
            self.prompts = beginnings(asked, self.prompts, _LONGEST_QUESTION)

    def prompt_ids(self, text: str) -> list[int]:
        return self.turn_ids((Turn("user", text),))

    def turn_ids(self, turns: Sequence[Turn]) -> list[int]:
        return render_prompt(turns, self.tokenizer, self.template)

    @property
    def stop_ids(self) -> Collection[int]:
        return stop_ids(self.tokenizer, self.template)

    def warn_of_skipped(self, rows: Dataset[Any], sources: Sequence[str]) -> None:
        """Warn of rows that were left out while `rows` was read, and of fields without effect."""
        source = ", ".join(sources)
        self.notes = tuple(dict.fromkeys([*self.notes, *rows.notes]))
        shown = not isinstance(self.template, ChatML)
        # A template of the tokenizer's may use any field of a turn.
        if fields := [name for name in rows.skipped.unused if not (shown and "[]." in name)]:
            self.warnings.append(unused_note(sources, fields))
        self.warnings += rows.skipped.lacking_notes
        if rows.skipped.count:
            self.warnings.append(
                Message(
                    "{count} rows of {source} left out, the first: {skipped_rows}",
                    count=rows.skipped.count,
                    source=source,
                    skipped_rows=rows.skipped_rows[0],
                )
            )

    def _tokenizer_and_template(
        self, config: RunConfig, rows: Dataset[T], texts: Callable[[T], Iterable[str]]
    ) -> tuple[Tokenizer, ChatTemplate]:
        if config.data.tokenizer is None:
            trained = tokenizer_of_rows(
                rows,
                texts,
                config.model.shape().vocab_size,
                named=self._named,
                cache_dir=self._cache_dir,
                progress=self._progress,
            )
            return trained, CHATML
        path = Path(config.data.tokenizer).expanduser()
        tokenizer = Tokenizer.load(path)
        own = config.data.template == "own"
        return tokenizer, TokenizerTemplate.load(path, tokenizer) if own else CHATML


def kinds_of(data: DataConfig) -> tuple[str, ...]:
    """The configured kinds of built-in questions."""
    return tuple(data.kinds) or KINDS


def packed_batch(rows: Rows, device: torch.device, weight: int) -> MicroBatch:
    """Packed rows on the device."""
    counted, counted_ends = places_and_ends(rows.labels != IGNORED)
    text, text_ends = places_and_ends(rows.segments > 0)
    ids, labels, positions, numbers, counted_N, text_N = integers_to_device(
        [rows.ids, rows.labels, rows.positions, rows.segments, counted, text], device
    )
    lengths = sequence_lengths(rows.segments)
    segments = Segments(numbers, lengths, Counted(text_N, text_ends), bounds_of(lengths, device))
    return MicroBatch(
        ids,
        labels,
        weight=weight,
        tokens=len(text),
        positions_BxT=positions,
        segments=segments,
        counted=Counted(counted_N, counted_ends),
    )


def pack_completions(
    completions: Sequence[Rendered], seq_len: int
) -> tuple[Rows, NDArray[np.int64]]:
    """Pack completions, each after its prompt, into rows of `seq_len` places or fewer.

    Also returns the index of the completion that each counted label belongs to, (N,). Each
    completion must fit into a row, and have a counted label.
    """
    packed = Packed(
        LearntTokens.of(completions), min(seq_len, sum(len(ids) - 1 for ids, _ in completions))
    )
    every = np.arange(packed.rows)
    rows = packed.lay_out(every)
    return rows, packed.items_of(every, rows.segments)[rows.labels >= 0]


def read_sides(read: ReadRow[T], data: DataConfig, side: Split) -> list[Dataset[T]]:
    """The training or validation rows of each configured source."""
    return [
        read(source, side=side, val_fraction=data.val_fraction, kinds=kinds_of(data))
        for source in data.inputs
    ]


def read_side(read: ReadRow[T], data: DataConfig, side: Split) -> Dataset[T]:
    """Those of all sources, as one."""
    return joined(read_sides(read, data, side))


if __name__ == "__main__":
    print(pack_completions([([1, 2, 3], [False, True, True]), ([1, 4], [False, True])], 64))
    print("=== 自测通过 ===")
