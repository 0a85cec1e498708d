"""The preview of data says of each row what the stage does with it; the oracle is the stage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import SMALLEST, silent

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.stages.answer_batch import AnswerBatch
from lmm_tui.engine.stages.base import load_stage
from lmm_tui.planning.data_preview import DataPreview, preview

LONG = " ".join(map(str, range(90)))
EARLIER = [
    {"role": "user", "content": "Hi?"},
    {"role": "assistant", "content": "Yes, hi."},
    {"role": "user", "content": "1 + 1?"},
]
ROWS: dict[str, list[dict[str, Any]]] = {
    "dpo": [
        {"prompt": EARLIER, "chosen": "2", "rejected": "3, I think"},
        {"prompt": "3?", "chosen": LONG, "rejected": "4"},
        *({"prompt": f"{n}?", "chosen": "yes", "rejected": "no"} for n in range(6)),
    ],
    "kto": [
        {"prompt": EARLIER, "completion": "2", "label": True},
        {"prompt": "3?", "completion": LONG, "label": False},
        {"prompt": "4?", "chosen": "5", "rejected": LONG},
        *({"prompt": f"{n}?", "completion": "yes", "label": n % 2 == 0} for n in range(6)),
    ],
    "grpo": [
        {"prompt": "1?", "answer": "1"},
        {"prompt": "2?"},
        {"prompt": LONG, "answer": "1"},
        *({"prompt": f"{n}?", "answer": n} for n in range(6)),
    ],
}
ROWS["reward"] = ROWS["dpo"]


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., RunConfig]:
    Tokenizer.train([json.dumps(ROWS)] * 3, 300).save(tmp_path / "tok")

    def made(stage: str, **more: object) -> RunConfig:
        source = tmp_path / f"{stage}.jsonl"
        source.write_text("\n".join(map(json.dumps, ROWS[stage])))
        return resolve(assignments={
            **SMALLEST, "stage": stage, "device": "cpu", "data.source": str(source),
            "data.tokenizer": str(tmp_path / "tok"), "data.seq_len": 64,
            "data.val_fraction": 0.001, **more,
        })  # fmt: skip

    return made


@pytest.mark.parametrize("stage", ["dpo", "reward", "kto"])
def test_answers_are_those_that_the_stage_scores(
    config: Callable[..., RunConfig], stage: str
) -> None:
    given = config(
        stage, **{"train.batch_size": 8 if stage == "kto" else 7, "kto.loss": "apo_zero"}
    )
    found, read = preview(given), load_stage(given, torch.device("cpu"), silent)
    (batch,) = read.micro_batches(0)
    assert isinstance(batch, AnswerBatch) and given.data.tokenizer
    tokenizer = Tokenizer.load(Path(given.data.tokenizer))
    scored = [answer for example in batch.answers for answer in example]
    if stage == "reward":  # Their last token is there twice.
        scored = [(ids[:-1], learnt[1:]) for ids, learnt in scored]
    expected = [(tokenizer.token_strings(ids), [*map(bool, learnt)]) for ids, learnt in scored]
    kept = [(list(row.tokens), list(row.learnt)) for row in found.rows if row.kept]
    assert sorted(kept) == sorted(expected)
    assert {row.told for row in found.rows} == (
        {"good", "bad"} if stage == "kto" else {"chosen", "rejected"}
    )
    width = 1 if stage == "kto" else 2
    assert_left_out(found, read.warnings, r"(\d+) \w+ left out, longer than 64", "longer", width)


def assert_left_out(
    found: DataPreview, warnings: tuple[str, ...], said: str, why: str, width: int = 1
) -> None:
    count = int(next(match[1] for one in warnings if (match := re.search(said, one))))
    assert count * width == sum(why in row.why for row in found.rows) > 0


def test_prompts_that_cannot_be_used_say_why(config: Callable[..., RunConfig]) -> None:
    given = config("grpo", **{"grpo.max_tokens": 8, "grpo.group": 2})
    found, read = preview(given), load_stage(given, torch.device("cpu"), silent)
    assert_left_out(found, read.warnings, r"(\d+) prompts left out: they leave no room", "no room")
    assert_left_out(found, read.warnings, r"(\d+) prompts left out: no answer", "no answer")
    assert found.rows[0].told == "answer: 1" and not any(found.rows[0].learnt)
    assert found.rows[0].state == "whole" and found.rows[1].state.startswith("left out: no answer")
