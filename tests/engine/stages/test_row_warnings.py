"""What a stage does not read, and what a chat template does not write, is said at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_models import json_lines, tokenizer_folder
from real_templates import FAMILIES

from lmm_tui.data.errors import DataError
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.stages.base import load_stage

CHATML_TURN = "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
ASKED = {"role": "user", "content": "one"}
ANSWER = {"role": "assistant", "content": "two", "reasoning_content": "hm"}
ROWS: dict[str, dict[str, Any]] = {
    "pretrain": {"text": "one two three four five six seven"},
    "sft": {"messages": [ASKED, ANSWER, ASKED, ANSWER]},
    "dpo": {"prompt": [ASKED, ANSWER, ASKED], "chosen": [ANSWER], "rejected": "three"},
    "grpo": {"prompt": [ASKED], "answer": "two"},
}


def stage_of(folder: Path, stage: str, rows: list[dict[str, Any]], **settings: Any) -> Any:
    given = {
        "stage": stage,
        "data.source": json_lines(folder / "rows.jsonl", rows),
        "data.seq_len": 128,
        "data.cache_dir": str(folder / "cache"),
        "data.val_fraction": 1e-6,
        "grpo.max_tokens": 8,
        **settings,
    }
    return load_stage(resolve(assignments=given), torch.device("cpu"), lambda *_: None)


@pytest.mark.parametrize("name", ROWS)
def test_fields_without_effect_are_listed_by_every_stage(tmp_path: Path, name: str) -> None:
    rows = [{**ROWS[name], "id": number, "gt": ["5"]} for number in range(60)]
    for _ in ("read", "from the cache"):
        warnings = stage_of(tmp_path, name, rows).warnings
        assert any(note.endswith("without effect: id, gt") for note in warnings)


@pytest.mark.parametrize(("name", "said"), [("sft", ["60 of the first 120"]), ("dpo", [])])
def test_thoughts_that_a_template_hides_are_counted(
    tmp_path: Path, name: str, said: list[str]
) -> None:
    """Qwen3's own template shows the last thought alone; of a pair's prompt none is learnt."""
    family = FAMILIES["qwen3"]
    tokenizer_folder(tmp_path / "words", family.backend(), family.source(), **family.names)
    own = {"data.tokenizer": str(tmp_path / "words"), "data.template": "own"}
    warnings = stage_of(tmp_path, name, [ROWS[name]] * 60, **own).warnings
    found = [note for note in warnings if "thoughts are not learnt" in note]
    assert [note.split(" thoughts")[0] for note in found] == said


def test_pairs_of_which_a_template_writes_no_answer_are_left_out(tmp_path: Path) -> None:
    family = FAMILIES["smollm2"]
    source = "{% for m in messages if m.content %}" + CHATML_TURN + "{% endfor %}"
    tokenizer_folder(tmp_path / "words", family.backend(), source, **family.names)
    own = {"data.tokenizer": str(tmp_path / "words"), "data.template": "own"}
    call = {"role": "assistant", "content": "", "tool_calls": [{"name": "add", "arguments": {}}]}
    rows = [ROWS["dpo"]] * 40 + [{**ROWS["dpo"], "rejected": [call]}] * 7
    warnings = stage_of(tmp_path, "dpo", rows, **own).warnings
    assert any(note.startswith("7 pairs left out: the chat template writes") for note in warnings)
    with pytest.raises(DataError, match="writes nothing of an answer in any of the pairs"):
        stage_of(tmp_path, "dpo", rows[40:], **own)


def test_prompts_that_are_left_out_are_counted_by_cause(tmp_path: Path) -> None:
    long = {"prompt": "one " * 200, "answer": "two"}
    rows = [ROWS["grpo"]] * 40 + [{"prompt": "one"}] * 9 + [long] * 3
    warnings = stage_of(tmp_path, "grpo", rows).warnings
    assert any(note.startswith("9 prompts left out: no answer") for note in warnings)
    assert any(note.startswith("3 prompts left out: they leave no room") for note in warnings)
    with pytest.raises(DataError, match="9 prompts have no answer.* the other 3 leave no room"):
        stage_of(tmp_path, "grpo", rows[40:])
