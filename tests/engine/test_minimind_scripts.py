"""MiniMind's own scripts load what we export, and stop at the end of an answer.

`load` and `ask` are what its eval_llm.py and scripts/serve_openai_api.py do with a folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_models import model_folder, sums
from real_templates import FAMILIES
from small_runs import MakeConfig, train

from lmm_tui.engine.convert import convert

ASKED = [{"role": "user", "content": "What is 2 and 3?"}]
_ANSWER = 60


def load(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    return model.half().eval(), tokenizer


def ask(model: Any, tokenizer: Any, text: str) -> list[int]:
    inputs = tokenizer(text, return_tensors="pt", truncation=True)
    with torch.no_grad():
        ids = model.generate(
            inputs=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=_ANSWER,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    found: list[int] = ids[0][len(inputs["input_ids"][0]) :].tolist()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("template", ["chatml", "own"])
def test_an_exported_chat_stops_at_the_end_of_an_answer(
    small: MakeConfig, tmp_path: Path, template: str
) -> None:
    """MiniMind's tokenizer: bos and pad are <|endoftext|>, eos is <|im_end|>."""
    family = FAMILIES["minimind"]
    names = family.names | {"bos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    model_folder(tmp_path / "start", family.backend(), family.source(), **names)
    config = small(
        stage="sft",
        start_from=str(tmp_path / "start"),
        data__source=sums(tmp_path / "sums.jsonl"),
        data__template=template,
        data__seq_len=128,
        train__steps=60,
        optim__lr=3e-3,
        log__val_every=0,
        log__probe_every=0,
    )
    run = train(config).run_dir.path
    convert(run, tmp_path / "out")
    model, tokenizer = load(tmp_path / "out")
    text = tokenizer.apply_chat_template(
        ASKED, tokenize=False, add_generation_prompt=True, open_thinking=False
    )
    assert text.endswith("</think>\n\n") is (template == "own")
    said = ask(model, tokenizer, text)
    assert 1 < len(said) < _ANSWER
    assert tokenizer.decode(said[:-1]).strip().isdigit() and said[-1] == tokenizer.eos_token_id

    # Its `--weight pretrain` asks so; its own class takes the tensors of a .pth strictly.
    assert len(ask(model, tokenizer, tokenizer.bos_token + "What")) <= _ANSWER
    (tmp_path / "pth").mkdir()
    convert(run, tmp_path / "pth/full_sft_64.pth")
    tensors = torch.load(tmp_path / "pth/full_sft_64.pth", map_location="cpu")
    model.load_state_dict(tensors, strict=True)
    assert ask(model, tokenizer, text) == said


@pytest.mark.slow
def test_a_model_trained_from_nothing_stops_there_too(small: MakeConfig, tmp_path: Path) -> None:
    config = small(
        stage="sft",
        data__source=sums(tmp_path / "sums.jsonl"),
        data__seq_len=128,
        train__steps=120,
        optim__lr=5e-3,
        log__val_every=0,
        log__probe_every=0,
    )
    convert(train(config).run_dir.path, tmp_path / "out")
    model, tokenizer = load(tmp_path / "out")
    text = tokenizer.apply_chat_template(ASKED, tokenize=False, add_generation_prompt=True)
    said = ask(model, tokenizer, text)
    assert len(said) < _ANSWER and said[-1] == tokenizer.eos_token_id
    assert tokenizer.bos_token + "What"
