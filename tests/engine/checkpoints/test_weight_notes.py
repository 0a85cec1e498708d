"""What reading weights changed or left out is said wherever they are read."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from architectures import model_folder
from safetensors.torch import load_file, save_file
from small_runs import MakeConfig, lines, of_stage, run, silent, train

from lmm_tui.data.builtin.stories import story
from lmm_tui.data.errors import DataError
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


def test_eight_bits_are_refused_also_where_config_json_says_nothing(tmp_path: Path) -> None:
    model_folder("llama", tmp_path)
    file, name = tmp_path / "model.safetensors", "model.layers.0.mlp.up_proj.weight"
    tensors = load_file(file)
    tensors["model.layers.0.self_attn.masked_bias"] = torch.tensor(1, dtype=torch.uint8)
    save_file(tensors, file, {"format": "pt"})
    read_weights(tmp_path)  # A table that the model computes may be of any type.
    save_file(tensors | {name: tensors[name].to(torch.float8_e4m3fn)}, file, {"format": "pt"})
    with pytest.raises(WeightsError, match=rf"tensor {name} is of type F8_E4M3; give weights in"):
        read_weights(tmp_path)


def test_nothing_is_trained_from_numbers_that_are_none(
    small: MakeConfig, chats: str, tmp_path: Path
) -> None:
    model_folder("llama", tmp_path / "llama", vocab_size=WORDS.vocab_size)
    WORDS.save(tmp_path / "llama")
    file, name = tmp_path / "llama" / "model.safetensors", "model.layers.1.mlp.up_proj.weight"
    tensors = load_file(file)
    tensors[name][3, 4] = -torch.inf
    save_file(tensors, file, {"format": "pt"})
    host = run(of_stage(small, chats, "sft", start_from=str(tmp_path / "llama")))
    assert host.refused and f"llama: tensor {name} holds NaN or infinite numbers" in host.error


def ending_beyond(*without: str) -> Tokenizer:
    """The words, without these tokens, and then an end of text of the last id."""
    content = json.loads(WORDS.serialised)
    for token in without:
        del content["model"]["vocab"][token]
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] not in without]
    backend = tokenizers.Tokenizer.from_str(json.dumps(content))
    backend.add_special_tokens(["<|endoftext|>"])
    return Tokenizer(backend, "<|endoftext|>")


def test_a_document_ends_by_a_token_that_has_a_row() -> None:
    """As GPT-2's tokenizer brings an end of text of its own to a model without it."""
    tokenizer = ending_beyond("<|endoftext|>")
    within, left_out = tokenizer.within(tokenizer.eos_id)
    assert left_out == ("<|endoftext|>",) and within.end_of_document == "<|im_end|>"
    nothing_ends = ending_beyond("<|endoftext|>", "<|im_end|>")
    with pytest.raises(DataError, match=r"<\|endoftext\|>, has no row in the model, which has"):
        nothing_ends.within(nothing_ends.eos_id)
