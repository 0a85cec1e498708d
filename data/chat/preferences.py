"""Preference pairs: the built-in ones, or rows with whole conversations or a prompt and two
answers.

Parsing splits off what both have in common, the prompt, and refuses pairs without a difference.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmm_tui.data.builtin import tasks
from lmm_tui.data.builtin.holdout import Split, split
from lmm_tui.data.builtin.task import KINDS
from lmm_tui.data.builtin.version import builtin_identity
from lmm_tui.data.chat.conversations import (
    asked_turns,
    parse_turn,
    parse_turns,
    says_something,
    with_context,
)
from lmm_tui.data.text.corpus import BUILTIN
from lmm_tui.data.text.dataset import Dataset, from_files
from lmm_tui.data.text.row_fields import PAIR_FIELDS, refuse_unsupported, shape_of
from lmm_tui.data.text.source import Source
from lmm_tui.data.turns import Pair, Turn, question
from lmm_tui.message import Message

Pairs = Dataset[Pair]

EXPECTED = Message(
    'expected {"chosen", "rejected", optionally "prompt"}, each text or a list of turns'
)


def read_pairs(
    source: str | Source,
    *,
    side: Split = "train",
    val_fraction: float = 0.05,
    kinds: Sequence[str] = KINDS,
) -> Pairs:
    """One side of `builtin`, or of files of rows, a folder or a glob of them.

    Of files, `val_fraction` is for validation, by a hash of the question, as in
    `data.chat.conversations`. `kinds` are those of the built-in questions.
    """
    if Source.parse(source).path == BUILTIN:
        return Dataset(
            lambda _: tasks.pairs(side, kinds=kinds),
            kind=f"pairs {side}",
            identity=lambda _: builtin_identity(side, kinds),
        )
    return from_files(
        source,
        parse_pair,
        lambda pair: split(question(pair.prompt), val_fraction) == side,
        kind=f"pairs {side}, {val_fraction} for validation",
        fields=PAIR_FIELDS,
        role="prompt",
    )


def parse_pair(row: dict[str, Any]) -> Pair:
    """What a row holds; ValueError says what was expected where it is no pair to learn from.

    Lists of turns may hold the prompt as well, as UltraFeedback's do beside a `prompt` of text.
    """
    if row.get("chosen") is None or row.get("rejected") is None:
        raise ValueError(
            Message("{expected}; {shape_of}", expected=EXPECTED, shape_of=shape_of(row))
        )
    refuse_unsupported(row)
    prompt = asked_turns(row)
    chosen = _whole(row, prompt, answer_turns(row["chosen"], "chosen"))
    rejected = _whole(row, prompt, answer_turns(row["rejected"], "rejected"))
    if chosen == rejected:
        raise ValueError(Message("chosen equals rejected; expected two answers that differ"))
    shared = _shared(chosen, rejected)
    pair = Pair(chosen[:shared], chosen[shared:], rejected[shared:])
    for name, turns in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        if not turns or not all(says_something(t) for t in turns if t.role == "assistant"):
            raise ValueError(
                Message('"{name}" is empty where the other has an answer; expected one', name=name)
            )
        if turns[0].role != "assistant":
            raise ValueError(
                Message("chosen and rejected ask different things; expected one prompt")
            )
    if not pair.prompt:
        raise ValueError(Message("no prompt before the answers; {expected}", expected=EXPECTED))
    return pair


def answer_turns(value: Any, key: str) -> tuple[Turn, ...]:
    """The turns of an answer: text, one turn, or a list of turns."""
    if isinstance(value, str):
        return (Turn("assistant", value),)
    if isinstance(value, dict):
        return (parse_turn(value, f'"{key}"'),)
    return parse_turns(value, key)


def _whole(
    row: dict[str, Any], prompt: tuple[Turn, ...], turns: tuple[Turn, ...]
) -> tuple[Turn, ...]:
    """The prompt and what follows it; turns that don't start with an answer bring their own."""
    return prompt + turns if turns[0].role == "assistant" else with_context(row, turns)


def _shared(chosen: tuple[Turn, ...], rejected: tuple[Turn, ...]) -> int:
    """How many turns are the same at the start."""
    pairs = zip(chosen, rejected, strict=False)
    same = next((at for at, (one, other) in enumerate(pairs) if one != other), None)
    return min(len(chosen), len(rejected)) if same is None else same


if __name__ == "__main__":
    demo_row = {"prompt": "1 + 1?", "chosen": "2", "rejected": "3"}
    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "demo.jsonl")
        demo.write_text(json.dumps(demo_row), encoding="utf-8")
        print(list(read_pairs(str(demo), val_fraction=0)))
    for bad in ({**demo_row, "rejected": "2"}, {**demo_row, "chosen": ""}, {"text": "x"}):
        try:
            parse_pair(bad)
        except ValueError as error:
            print(error)
    assert parse_pair(demo_row).prompt == (Turn("user", "1 + 1?"),)
    print("=== 自测通过 ===")
