"""Adapters alone: written as peft loads them, read as peft wrote them, refused where they do not
fit."""

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from architectures import model_folder
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from small_runs import MakeConfig, curve, of_stage, train
from transformers import AutoModelForCausalLM

from lmm_tui.cli.commands.convert import command
from lmm_tui.data.builtin.stories import story
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.adapter_export import export_adapter
from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.engine.checkpoints.weights import read_weights

WORDS = Tokenizer.train([story(0, index) for index in range(40)], 400)
IDS = torch.arange(5, 25).unsqueeze(0)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    model_folder("llama", tmp_path / "llama", vocab_size=WORDS.vocab_size)
    WORDS.save(tmp_path / "llama")
    return tmp_path / "llama"


def adapters(folder: Path, base: Path, **changes: Any) -> Path:
    """As peft writes them, with random matrices."""
    torch.manual_seed(0)
    targets = {"r": 2, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]} | changes
    config = peft.LoraConfig(init_lora_weights=False, task_type="CAUSAL_LM", **targets)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder


def test_a_run_leaves_as_adapters_that_peft_loads(
    small: MakeConfig, chats: str, base: Path, tmp_path: Path
) -> None:
    changes = {"start_from": str(base), "lora__rank": 2, "train__steps": 2, "optim__lr": 0.01}
    run = train(of_stage(small, chats, "sft", **changes)).run_dir
    written = CliRunner().invoke(command, [str(run.path), str(tmp_path / "alone"), "--adapter"])
    assert written.exit_code == 0 and "parameters from" in written.output and not written.stderr
    right = read_weights(run.path).model().eval()
    theirs = peft.AutoPeftModelForCausalLM.from_pretrained(
        tmp_path / "alone", dtype=torch.float32
    ).eval()
    with torch.no_grad():
        wanted = right(IDS)
        assert (wanted - read_weights(base).model().eval()(IDS)).abs().max() > 1e-3
        torch.testing.assert_close(theirs(IDS).logits, wanted, atol=1e-5, rtol=1e-5)
        again = read_weights(tmp_path / "alone").model().eval()(IDS)
        torch.testing.assert_close(again, wanted, atol=1e-5, rtol=1e-5)
    both = CliRunner().invoke(command, [str(run.path), "x", "--adapter", "--merge"])
    assert both.exit_code == 2 and "choose" in both.output
    with pytest.raises(WeightsError, match="writes a new folder"):
        export_adapter(run.path, tmp_path / "alone")
    with pytest.raises(WeightsError, match="has no LoRA adapters; convert it without --adapter"):
        export_adapter(base, tmp_path / "other")


def test_a_run_starts_from_adapters_of_peft(
    small: MakeConfig, chats: str, base: Path, tmp_path: Path
) -> None:
    folder = adapters(tmp_path / "adapter", base)
    changes = {"start_from": str(folder), "train__steps": 1, "optim__lr": 1e-9}
    run = train(of_stage(small, chats, "sft", **changes)).run_dir
    assert curve(run)
    theirs = peft.AutoPeftModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        found = read_weights(run.path).model().eval()(IDS)
        torch.testing.assert_close(found, theirs(IDS).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("made", "change", "sentence"),
    [
        ({"use_dora": True}, {}, "sets use_dora; only plain LoRA"),
        ({"modules_to_save": ["lm_head"]}, {}, "sets modules_to_save; only plain LoRA"),
        ({}, {"peft_type": "IA3"}, "adapters of type IA3"),
        ({}, {"r": "two"}, "r should be a number above 0"),
        ({}, {"base_model_name_or_path": None}, "names no base_model_name_or_path"),
        ({}, {"base_model_name_or_path": "me/x"}, "model me/x is neither a path here, nor in"),
    ],
)
def test_adapters_that_cannot_be_merged_are_refused(
    base: Path, tmp_path: Path, made: dict[str, Any], change: dict[str, Any], sentence: str
) -> None:
    folder = adapters(tmp_path / "adapter", base, **made)
    config = folder / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(WeightsError, match=sentence):
        read_weights(folder)


def test_adapters_of_another_model_are_refused_with_both_sizes(base: Path, tmp_path: Path) -> None:
    folder = adapters(tmp_path / "adapter", base)
    file, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    whole = load_file(file)
    name = next(name for name in whole if name.endswith("q_proj.lora_B.weight"))
    del whole[name]
    save_file(whole, file)
    with pytest.raises(WeightsError, match=r"q_proj.lora_A.weight has no second matrix"):
        read_weights(folder)
    for other, sentence in (
        ({"hidden_size": 48}, r"of .*proj is \(32, .*the matrix in .* was trained on another"),
        ({"num_hidden_layers": 1}, "adapters for model.layers.1.*, which .* does not have"),
    ):
        place = tmp_path / next(iter(other))
        model_folder("llama", place, **other)
        whole = load_file(adapters(folder, base) / file.name)
        said = json.loads(config.read_text()) | {"base_model_name_or_path": str(place)}
        config.write_text(json.dumps(said))
        with pytest.raises(WeightsError, match=sentence):
            read_weights(folder)
    file.unlink()
    with pytest.raises(WeightsError, match="adapter_model.safetensors is missing"):
        read_weights(folder)
