"""Answers with a verdict, good or bad, of rows that need no second answer: the data of KTO.

A row has a `label` (trl and LLaMA-Factory) or `kto_tag`, beside a whole conversation, a question
with its `output`, or a `prompt` with its `completion`. A row of `chosen` and `rejected` is a good
and a bad answer.
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
from lmm_tui.data.chat.conversations import asked_turns, says_something, whole_turns, with_context
from lmm_tui.data.chat.preferences import answer_turns, parse_pair
from lmm_tui.data.text.corpus import BUILTIN
from lmm_tui.data.text.dataset import Dataset, from_files
from lmm_tui.data.text.row_fields import LABEL_KEYS, LABELLED_FIELDS, refuse_unsupported, shape_of
from lmm_tui.data.text.source import Source
from lmm_tui.data.turns import Labelled, Pair, Turn, question
from lmm_tui.message import Message

EXPECTED = Message(
    'expected {"prompt", "completion", "label"}, {"messages", "label"}, {"instruction", "output", '
    '"label"} or {"prompt", "chosen", "rejected"}'
)
_VERDICTS = {"true": True, "false": False, "1": True, "0": False}

LabelledRow = tuple[Labelled, ...]


def read_labelled(
    source: str | Source,
    *,
    side: Split = "train",
    val_fraction: float = 0.05,
    kinds: Sequence[str] = KINDS,
) -> Dataset[LabelledRow]:
    """One side of `builtin`, or of files of rows; each row has one answer, or the two of a pair.

    Sides are split as those of `data.chat.preferences`.
    """
    if Source.parse(source).path == BUILTIN:
        return Dataset(
            lambda _: map(_both, tasks.pairs(side, kinds=kinds)),
            kind=f"labelled {side}",
            identity=lambda _: builtin_identity(side, kinds),
        )
    return from_files(
        source,
        parse_labelled,
        lambda row: split(question(row[0].prompt), val_fraction) == side,
        kind=f"labelled {side}, {val_fraction} for validation",
        fields=LABELLED_FIELDS,
        role="messages",
    )


def parse_labelled(row: dict[str, Any]) -> LabelledRow:
    """What a row holds; ValueError says what was expected where it has no answer or no verdict."""
    if row.get("chosen") is not None and row.get("rejected") is not None:
        return _both(parse_pair(row))
    refuse_unsupported(row)
    good = _verdict(row)
    if row.get("completion") is not None:
        answer = answer_turns(row["completion"], "completion")
        prompt = asked_turns(row)
        if not prompt and answer[0].role != "assistant":  # It brings the prompt.
            answer = with_context(row, answer)
        turns = prompt + answer
    else:
        turns = whole_turns(row, EXPECTED)
    last = len(turns)
    while last and turns[last - 1].role in ("assistant", "tool"):
        last -= 1
    if not last:
        raise ValueError(Message("no prompt before the answer; {expected}", expected=EXPECTED))
    found = Labelled(turns[:last], turns[last:], good)
    if not any(turn.role == "assistant" and says_something(turn) for turn in found.answer):
        raise ValueError(Message("the last turn is no answer; expected one that says something"))
    return (found,)


def _verdict(row: dict[str, Any]) -> bool:
    key = next((key for key in LABEL_KEYS if row.get(key) is not None), None)
    if key is None:
        raise ValueError(
            Message("{expected}; {shape_of}", expected=EXPECTED, shape_of=shape_of(row))
        )
    verdict = _VERDICTS.get(str(row[key]).lower())
    if verdict is None or isinstance(row[key], float):
        raise ValueError(
            Message('"{key}" is neither true nor false; expected the verdict on an answer', key=key)
        )
    return verdict


def _both(pair: Pair) -> LabelledRow:
    return (
        Labelled(pair.prompt, pair.chosen, good=True),
        Labelled(pair.prompt, pair.rejected, good=False),
    )


if __name__ == "__main__":
    demo_row = {"prompt": "1 + 1?", "completion": "2", "label": True}
    with tempfile.TemporaryDirectory() as scratch:
        demo = Path(scratch, "demo.jsonl")
        demo.write_text(json.dumps(demo_row), encoding="utf-8")
        print(list(read_labelled(str(demo), val_fraction=0)))
    for bad in ({**demo_row, "label": "so-so"}, {**demo_row, "completion": ""}, {"text": "x"}):
        try:
            parse_labelled(bad)
        except ValueError as error:
            print(error)
    assert parse_labelled(demo_row)[0].prompt == (Turn("user", "1 + 1?"),)
    print("=== 自测通过 ===")
