"""Rows as the model sees them: their tokens, what is learnt, how they are packed, what is left out.

It reads the first rows of the configured data with the code that the stages read them with, and
needs no torch. Called from a thread: it may train a tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from lmm_tui.data.batching.packing import Packed
from lmm_tui.data.chat.spans import ChatTemplate, Rendered
from lmm_tui.data.chat.template import CHATML, render, render_prompt
from lmm_tui.data.chat.tokenizer_template import TokenizerTemplate
from lmm_tui.data.errors import DataError
from lmm_tui.data.report.samples import Item, Samples
from lmm_tui.data.text.corpus import BUILTIN
from lmm_tui.data.text.source import Source
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.i18n.language import tr

ROWS = 60
"""Rows that are shown, of all sources together."""
_LONGEST = 2000
"""Tokens of a row that are shown."""
_KINDS = {"sft": "conversations", "dpo": "pairs", "grpo": "prompts"}


@dataclass(frozen=True)
class PreviewRow:
    """A row; a pair of answers is two."""

    source: str
    tokens: tuple[str, ...]
    learnt: tuple[bool, ...]
    length: int
    """Tokens of all of it."""
    kept: int
    """Tokens that fit into a sequence; 0 where nothing of it is learnt."""

    @property
    def state(self) -> str:
        if not self.kept:
            return tr("left out: nothing to learn in {count:,} tokens", count=self.length)
        if self.kept < self.length:
            return tr("cut after {count:,} of {all:,} tokens", count=self.kept, all=self.length)
        return tr("whole")


@dataclass(frozen=True)
class PackedRow:
    """A sequence of the batch: the lengths of what is in it, and its places."""

    lengths: tuple[int, ...]
    places: int


@dataclass(frozen=True)
class DataPreview:
    """The first rows of the data."""

    rows: tuple[PreviewRow, ...]
    packed: tuple[PackedRow, ...]
    left_out: tuple[str, ...]
    """`file:row: why`."""
    facts: tuple[str, ...]


def preview(config: RunConfig, tokenizer: Path | None = None) -> DataPreview:
    """Read the first rows; `tokenizer` is that of the run. Raises DataError, one sentence."""
    kind = "text" if config.reads_text else _KINDS.get(config.stage, "conversations")
    inputs = config.data.inputs
    share = max(1, ROWS // len(inputs))
    items: list[tuple[str, Item]] = []
    left_out: list[str] = []
    for source in inputs:
        found, bad = _first(source, kind, share, config.data.builtin_mb)
        items += [(str(source), item) for item in found]
        left_out += bad
    if not items:
        why = left_out[0] if left_out else tr("no row was found")
        raise DataError("data.source: {why}", why=why)
    made, named = _tokenizer(config, tokenizer, items)
    template: ChatTemplate = CHATML
    folder = tokenizer or (Path(config.data.tokenizer or "").expanduser())
    if config.data.template == "own" and config.data.tokenizer:
        template = TokenizerTemplate.load(folder, made)
    seq_len = config.data.seq_len
    rows = [
        _row(source, rendered, seq_len, made, kind)
        for source, item in items
        for rendered in _rendered(item, kind, made, template)
    ]
    packed = _packed_text(rows, seq_len) if kind == "text" else ()
    if kind == "conversations":
        packed = _packed([one for _, it in items for one in _rendered(it, kind, made, template)],
                         seq_len)  # fmt: skip
    facts = [tr("tokenizer: {name}", name=named)]
    if kind != "text":
        facts.append(tr("template: {name}", name=config.data.template))
    facts.append(tr("{count} tokens", count=seq_len))
    return DataPreview(tuple(rows), tuple(packed), tuple(left_out), tuple(facts))


def _first(
    source: Source, kind: str, count: int, builtin_mb: float
) -> tuple[list[Item], list[str]]:
    samples = Samples(source, kind, min(builtin_mb, 0.3) if source.path == BUILTIN else builtin_mb)
    found: list[Item] = []
    try:
        found.extend(islice(samples, count))
    except DataError:  # That too many rows are broken is what is to be looked at.
        if not samples.skipped.count:
            raise
    return found, list(samples.skipped_rows)


def _tokenizer(
    config: RunConfig, own: Path | None, items: list[tuple[str, Item]]
) -> tuple[Tokenizer, str]:
    if own is not None and own.exists():
        return Tokenizer.load(own), tr("of the run")
    if config.data.tokenizer:
        return Tokenizer.load(Path(config.data.tokenizer).expanduser()), config.data.tokenizer
    size = min(config.model.shape().vocab_size, 2048)
    made = Tokenizer.train((item.text for _, item in items), size)
    return made, tr("trained on these rows; the run trains its own on all data")


def _rendered(
    item: Item, kind: str, tokenizer: Tokenizer, template: ChatTemplate
) -> Iterator[Rendered]:
    if kind == "text":
        ids = [*tokenizer.encode(item.text), tokenizer.eos_id]
        yield ids, [True] * len(ids)
    elif kind == "prompts":
        ids = render_prompt(item.talks[0].turns, tokenizer, template)
        yield ids, [False] * len(ids)
    else:
        yield from (render(talk, tokenizer, template) for talk in item.talks)


def _row(
    source: str, rendered: Rendered, seq_len: int, tokenizer: Tokenizer, kind: str
) -> PreviewRow:
    ids, learnt = rendered
    kept = len(ids)
    if kind == "conversations" and kept > seq_len + 1:
        kept = seq_len + 1 if any(learnt[1 : seq_len + 1]) else 0
    elif kind in ("pairs", "prompts") and kept > seq_len:
        kept = 0
    shown = tokenizer.token_strings(ids[:_LONGEST])
    return PreviewRow(source, tuple(shown), tuple(map(bool, learnt[:_LONGEST])), len(ids), kept)


def _packed(rendered: list[Rendered], seq_len: int) -> tuple[PackedRow, ...]:
    packed = Packed(rendered, seq_len)
    found = []
    for row in range(min(packed.rows, ROWS)):
        segments = packed.lay_out(np.array([row])).segments[0]
        lengths = np.bincount(segments)[1:]
        found.append(PackedRow(tuple(map(int, lengths)), seq_len))
    return tuple(found)


def _packed_text(rows: list[PreviewRow], seq_len: int) -> tuple[PackedRow, ...]:
    """Documents follow each other, and are cut wherever a sequence ends."""
    found: list[PackedRow] = []
    held: list[int] = []
    for row in rows:
        left = row.length
        while left:
            part = min(left, seq_len - sum(held))
            held.append(part)
            left -= part
            if sum(held) == seq_len:
                found.append(PackedRow(tuple(held), seq_len))
                held = []
    return tuple(found[:ROWS])


if __name__ == "__main__":
    demo = preview(RunConfig(stage="sft"))
    print(demo.facts, demo.rows[0].tokens[:12], demo.packed[0])
    assert sum(demo.packed[0].lengths) <= demo.packed[0].places
    print("=== 自测通过 ===")
