"""What reading weights changed or left out is said wherever they are read."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import model_folder
from small_runs import MakeConfig, lines, of_stage, run, silent, train

from lmm_tui.data.builtin.stories import story
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.engine.checkpoints.weights import Weights, read_weights
from lmm_tui.engine.evaluation.job import EvaluationOutcome, Job
from lmm_tui.engine.evaluation.open_model import notes, open_model
from lmm_tui.engine.evaluation.report import outcome_table
from lmm_tui.engine.stages.base import load_stage

WORDS = Tokenizer.train([story(0, index) for index in range(40)], 400)
RENAMED = "tensors renamed, the first: _orig_mod.module.model.embed_tokens.weight is model.embed"
SAID = (RENAMED, "effect, computed anew: freqs_cos", "weights are bfloat16, read as", "eps")


@pytest.fixture
def wrapped(small: MakeConfig, chats: str, tmp_path: Path) -> Path:
    """A bf16 .pth of a compiled model in DDP, with a rotary table."""
    base = train(of_stage(small, chats, "sft", name="base", train__steps=1))
    weights: Weights = read_weights(base.run_dir.path)
    assert weights.notes == ()
    assert weights.tokenizer is not None
    Tokenizer.load(weights.tokenizer).save(tmp_path / "tokenizer.json")
    table = {f"_orig_mod.module.{name}": it.bfloat16() for name, it in weights.tensors.items()}
    torch.save(table | {"freqs_cos": torch.ones(3)}, tmp_path / "m.pth")
    return tmp_path / "m.pth"


def holds(said: Any) -> bool:
    return all(sum(part in note for note in said) == 1 for part in SAID)


def test_notes_are_said_in_train_and_eval_and_of_a_teacher(
    small: MakeConfig, chats: str, wrapped: Path
) -> None:
    config = of_stage(small, chats, "sft", name="next", start_from=str(wrapped), train__steps=1)
    events = lines(train(config).run_dir.events)
    assert holds([event["message"] for event in events if event["kind"] == "alert"])

    found = notes(open_model(Job(str(wrapped), ("lmm_sums",), device="cpu")))
    assert holds(found)
    outcome = EvaluationOutcome((), 0, "", {}, notes=found)
    assert holds(outcome_table(outcome).splitlines())

    tokenizer = str(wrapped.parent / "tokenizer.json")
    taught = of_stage(
        small, chats, "distill", distill__teacher=str(wrapped), data__tokenizer=tokenizer
    )
    assert holds(load_stage(taught, torch.device("cpu"), silent).warnings)


def test_numbers_that_are_no_floats_are_refused(wrapped: Path) -> None:
    table = torch.load(wrapped)
    name = "_orig_mod.module.model.layers.0.mlp.up_proj.weight"
    torch.save(table | {name: table[name].to(torch.int8)}, wrapped)
    with pytest.raises(WeightsError, match="holds int8 tensors"):
        read_weights(wrapped)


def test_a_tokenizer_of_another_vocabulary_is_refused_with_numbers(
    small: MakeConfig, chats: str, tmp_path: Path
) -> None:
    folder = tmp_path / "llama"
    model_folder("llama", folder, vocab_size=WORDS.vocab_size)
    WORDS.save(folder)
    other = Tokenizer.train(["wholly other words, of which none is a story 一二三四五"] * 20, 350)
    other.save(tmp_path / "other")
    changes = {"start_from": str(folder), "train__steps": 1}
    host = run(of_stage(small, chats, "sft", data__tokenizer=str(tmp_path / "other"), **changes))
    said = r"other: \d\d of its \d+ ids are other tokens than those that .*llama was trained with"
    assert re.search(said, host.error)


def test_added_tokens_without_a_row_are_left_out_and_said(
    small: MakeConfig, chats: str, tmp_path: Path
) -> None:
    """Gemma 3's text models have one token more than rows."""
    folder = tmp_path / "llama"
    model_folder("llama", folder, vocab_size=WORDS.vocab_size)
    WORDS.save(folder)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    added = {**content["added_tokens"][0], "id": WORDS.vocab_size, "content": "<image>"}
    content["added_tokens"].append(added)
    file.write_text(json.dumps(content))
    assert Tokenizer.load(file).vocab_size == WORDS.vocab_size + 1
    made = train(of_stage(small, chats, "sft", start_from=str(folder), train__steps=1)).run_dir
    assert Tokenizer.load(made.path).serialised == WORDS.serialised
    events = (made.path / "events.jsonl").read_text()
    assert "1 added tokens have no row in the model, and are left out: <image>" in events
