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
from lmm_tui.data.chat.answers import scored
from lmm_tui.data.chat.kept_examples import KeptAnswers
from lmm_tui.data.chat.spans import ChatTemplate, Rendered
from lmm_tui.data.chat.template import CHATML, render, render_prompt
from lmm_tui.data.chat.tokenizer_template import TokenizerTemplate
from lmm_tui.data.errors import DataError
from lmm_tui.data.report.samples import Item, Samples
from lmm_tui.data.text.corpus import BUILTIN
from lmm_tui.data.text.source import Source
from lmm_tui.data.tokenizing.learnt_tokens import LearntTokens
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.i18n.language import mark, tr

ROWS = 60
"""Rows that are shown, of all sources together."""
_VERDICTS = (mark("chosen"), mark("rejected"), mark("good"), mark("bad"))
"""What items are told to be, for the catalogue."""
_LONGEST = 2000
"""Tokens of a row that are shown."""
_KINDS = {"dpo": "pairs", "reward": "pairs", "kto": "labelled", "grpo": "prompts"}
"""Of the stages that read no plain text; the others read conversations."""


@dataclass(frozen=True)
class PreviewRow:
    """A row; a pair of answers is two."""

    source: str
    tokens: tuple[str, ...]
    learnt: tuple[bool, ...]
    length: int
    """Tokens of all of it."""
    kept: int
    """Tokens that fit into a sequence; 0 where it is left out."""
    told: str = ""
    """What the data say of it: chosen or rejected, good or bad, the right answer."""
    why: str = ""
    """Why it is left out."""

    @property
    def state(self) -> str:
        if not self.kept:
            return tr("left out: {why}", why=self.why)
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
    rendered = [(source, item, _rendered(item, kind, made, template)) for source, item in items]
    rows = [
        row
        for source, item, answers in rendered
        for row in _rows(source, item, answers, kind, made, config)
    ]
    packed = _packed_text(rows, seq_len) if kind == "text" else ()
    if kind == "conversations":
        packed = _packed([answer for _, _, answers in rendered for answer in answers], seq_len)
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
) -> list[Rendered]:
    """Of a pair both answers, of everything else one."""
    if kind == "text":
        ids = [*tokenizer.encode(item.text), tokenizer.eos_id]
        return [(ids, [True] * len(ids))]
    if kind == "prompts":
        ids = render_prompt(item.talks[0].turns, tokenizer, template)
        return [(ids, [False] * len(ids))]
    return [render(talk, tokenizer, template) for talk in item.talks]


def _rows(
    source: str,
    item: Item,
    answers: list[Rendered],
    kind: str,
    tokenizer: Tokenizer,
    config: RunConfig,
) -> Iterator[PreviewRow]:
    read = [*map(scored, answers)] if config.stage == "reward" else answers
    told_of = item.told or ("",) * len(answers)
    whole = _left_out(item, read, kind, config) if kind == "pairs" else ""
    for (ids, marks), one, told in zip(answers, read, told_of, strict=True):
        why = whole or _left_out(item, [one], kind, config)
        kept = min(len(ids), config.data.seq_len + 1) if kind == "conversations" else len(ids)
        # A reward's label stands behind the last token, at whose place it is read.
        learnt = one[1][1:] if config.stage == "reward" else marks
        yield PreviewRow(
            source,
            tuple(tokenizer.token_strings(ids[:_LONGEST])),
            tuple(map(bool, learnt[:_LONGEST])),
            length=len(ids),
            kept=0 if why else kept,
            told=tr("answer: {answer}", answer=told) if kind == "prompts" and told else tr(told),
            why=why,
        )


def _left_out(item: Item, answers: list[Rendered], kind: str, config: RunConfig) -> str:
    """Why a stage leaves an example out, of one or two answers as it reads them."""
    seq_len = config.data.seq_len
    if kind == "conversations" and not any(answers[0][1][1 : seq_len + 1]):
        return tr("nothing to learn in {count:,} tokens", count=min(len(answers[0][0]), seq_len))
    if kind == "prompts":
        if "exact" in config.grpo.rewards and not item.told:
            return tr("no answer, which the reward 'exact' compares with")
        if len(answers[0][0]) + config.grpo.max_tokens > seq_len:
            room = config.grpo.max_tokens
            return tr("no room for {room} tokens of {seq_len}", room=room, seq_len=seq_len)
    if kind in ("pairs", "labelled"):
        kept = KeptAnswers(LearntTokens.of(answers), len(answers), seq_len)
        if kept.too_long:
            return tr("longer than {seq_len} tokens", seq_len=seq_len)
        if kept.unwritten:
            return tr("the chat template writes nothing of an answer")
    return ""


def _packed(rendered: list[Rendered], seq_len: int) -> tuple[PackedRow, ...]:
    packed = Packed(LearntTokens.of(rendered), seq_len)
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
