"""LoRA on the embedding and the head trains, resumes and merges; peft on transformers' Qwen3 is
the oracle."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from small_runs import MakeConfig, curve, of_stage, train
from transformers import AutoModelForCausalLM, Qwen3ForCausalLM

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.checkpoints.hf_config import hf_config
from lmm_tui.engine.checkpoints.weights import read_weights
from lmm_tui.engine.config.sections.lora_config import LoraConfig
from lmm_tui.engine.convert import convert
from lmm_tui.engine.model.adapters import add_adapters, without_adapters
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.loss import loss_sum
from lmm_tui.engine.run.checkpoint_names import list_checkpoints

TARGETS = (["embed_tokens"], ["lm_head"], ["embed_tokens", "lm_head", "q_proj"])
IDS = torch.arange(5, 25).unsqueeze(0)


def theirs(tmp_path: Path, shape: Any, weights: dict[str, torch.Tensor]) -> Any:
    words = Tokenizer.train(["the cat sat on the mat"] * 9, 280)
    model = Qwen3ForCausalLM(Qwen3ForCausalLM.config_class(**hf_config(shape, words)))
    model.load_state_dict(weights, strict=False)
    return model


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("targets", TARGETS, ids=str)
def test_gradients_are_those_of_peft(small: MakeConfig, targets: list[str], tied: bool) -> None:
    shape = small(model__tie_embeddings=tied).model.shape()
    ours = Decoder(shape)
    ours.init_weights(0)
    base = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    add_adapters(ours, LoraConfig(rank=4, targets=targets), seed=0)
    other = theirs(Path(), shape, base)
    config = peft.LoraConfig(r=4, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM")
    other = peft.get_peft_model(other, config)
    mine = {name: p for name, p in ours.named_parameters() if p.requires_grad}
    rest = {name: p for name, p in other.named_parameters() if p.requires_grad}
    assert {f"base_model.model.{name}" for name in mine} == rest.keys()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in mine.items():
            parameter.normal_(0, 0.1, generator=generator)
            rest[f"base_model.model.{name}"].copy_(parameter)
    labels = torch.roll(IDS, -1, 1)
    torch.testing.assert_close(ours(IDS), other(IDS).logits, atol=1e-5, rtol=1e-5)
    loss_sum(*ours.projection(ours.backbone(IDS)), labels).backward()
    right = torch.nn.functional.cross_entropy(other(IDS).logits[0], labels[0], reduction="sum")
    right.backward()
    for name, parameter in mine.items():
        gradient = rest[f"base_model.model.{name}"].grad
        assert parameter.grad is not None and parameter.grad.abs().max() > 0
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-4, rtol=1e-4)
    with torch.no_grad(), without_adapters(ours), other.disable_adapter():
        torch.testing.assert_close(ours(IDS), other(IDS).logits, atol=1e-5, rtol=1e-5)


def test_dropout_falls_on_what_the_head_adapter_reads(small: MakeConfig) -> None:
    model = Decoder(small().model.shape())
    model.init_weights(0)
    add_adapters(model, LoraConfig(rank=4, targets=["lm_head"], dropout=0.5), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(parameter)
    with torch.no_grad():
        assert not torch.equal(model(IDS), model(IDS))
        assert torch.equal(model.eval()(IDS), model(IDS))


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("targets", TARGETS, ids=str)
def test_a_run_resumes_to_the_bit_and_merges_to_the_model_with_adapters(
    small: MakeConfig, chats: str, tmp_path: Path, targets: list[str], tied: bool
) -> None:
    changes: dict[str, Any] = {
        "lora__rank": 4,
        "lora__targets": targets,
        "model__tie_embeddings": tied,
        "optim__lr": 2e-2,
        "optim__schedule": "constant",
    }
    whole = train(of_stage(small, chats, "sft", name="whole", **changes))
    first = train(of_stage(small, chats, "sft", name="parts", train__steps=6, **changes))
    second = of_stage(small, chats, "sft", name="parts", **changes)
    assert curve(train(second, first.run_dir).run_dir) == curve(whole.run_dir)
    checkpoint = list_checkpoints(whole.run_dir.checkpoints)[-1]
    adapter = load_file(checkpoint / "adapter" / "adapter_model.safetensors")
    assert all(tensor.abs().max() > 0 for tensor in adapter.values())
    base = load_file(checkpoint / "model.safetensors")
    config = small(model__tie_embeddings=tied).model
    shape = config.shape(len(base["model.embed_tokens.weight"]))
    live = peft.PeftModel.from_pretrained(theirs(tmp_path, shape, base), checkpoint / "adapter")
    convert(whole.run_dir.path, tmp_path / "hf", merge=True)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float32)
    with torch.no_grad():
        right = live.eval()(IDS).logits
        torch.testing.assert_close(merged.eval()(IDS).logits, right, atol=1e-5, rtol=1e-5)
        found = read_weights(whole.run_dir.path)
        torch.testing.assert_close(found.model()(IDS), right, atol=1e-5, rtol=1e-5)
    assert bool(found.notes) is tied
    again = train(of_stage(small, chats, "sft", name="again", start_from="whole", train__steps=1))
    assert "model.embed_tokens.weight" in read_weights(again.run_dir.path).tensors


@pytest.mark.parametrize("stage", ["dpo", "grpo"])
def test_other_stages_learn_by_an_adapter_of_the_head(
    small: MakeConfig, chats: str, stage: str
) -> None:
    changes: dict[str, Any] = {"lora__rank": 4, "lora__targets": ["lm_head", "embed_tokens"]}
    if stage == "grpo":
        changes |= {"grpo__beta": 0.1, "grpo__updates": 2, "grpo__rewards": ["length:4"]}
    host = train(of_stage(small, chats, stage, optim__name="muon", train__steps=3, **changes))
    checkpoint = list_checkpoints(host.run_dir.checkpoints)[-1]
    adapter = load_file(checkpoint / "adapter" / "adapter_model.safetensors")
    assert len(adapter) == 4
    if stage == "dpo":
        assert all(tensor.abs().max() > 0 for tensor in adapter.values())
