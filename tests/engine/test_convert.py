"""Weights in and out of other formats: equal to the bit, or refused with the reason."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from architectures import model_folder
from safetensors.torch import load_file, save_file
from small_runs import MakeConfig, curve

from lmm_tui.data.chat.chatml import CHAT_TEMPLATE
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.checkpoints.weights import Weights, WeightsError, read_weights
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.convert import convert
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.training.run_host import EngineHost

IDS = torch.arange(24).reshape(2, 12)


def model(tie: bool = True) -> Decoder:
    shape = ModelShape(300, 32, 2, 4, 2, 8, 64, tie_embeddings=tie)
    decoder = Decoder(shape)
    decoder.init_weights(3)
    return decoder


def of(weights: Weights) -> Decoder:
    decoder = Decoder(weights.shape)
    decoder.load_state_dict(weights.tensors)
    return decoder


def save_minimind(decoder: Decoder, path: Path) -> Path:
    """As MiniMind's trainers save: fp16, the tied head spelt out."""
    tensors = {name: tensor.half() for name, tensor in decoder.state_dict().items()}
    tensors.setdefault("lm_head.weight", tensors["model.embed_tokens.weight"])
    torch.save(tensors, path)
    return path


@pytest.fixture
def hf(tmp_path: Path) -> Path:
    """A Hugging Face folder made from a MiniMind file."""
    Tokenizer.train(["the cat sat on the mat"] * 9, 300).save(tmp_path)
    convert(save_minimind(model(), tmp_path / "pretrain_32.pth"), tmp_path / "hf")
    return tmp_path / "hf"


@pytest.mark.parametrize("tie", [True, False])
def test_a_minimind_file_survives_both_ways_to_the_bit(tmp_path: Path, tie: bool) -> None:
    first = save_minimind(model(tie), tmp_path / "a_32.pth")
    convert(first, tmp_path / "b.pth")
    before, after = read_weights(first), read_weights(tmp_path / "b.pth")
    assert before.shape == after.shape
    assert before.shape.tie_embeddings is tie
    assert torch.equal(of(before)(IDS), of(after)(IDS))


def test_a_hugging_face_folder_reads_back_as_what_was_written(hf: Path) -> None:
    weights = read_weights(hf)
    assert torch.equal(of(weights)(IDS), of(read_weights(hf.parent / "pretrain_32.pth"))(IDS))
    assert weights.tokenizer == hf / "tokenizer.json"
    assert {path.name for path in hf.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


@pytest.mark.parametrize(
    ("beside", "exported"),
    [(None, CHAT_TEMPLATE), ("{{ messages[0].content }}", "{{ messages[0].content }}")],
)
def test_a_folder_has_the_template_of_its_tokenizer_else_chatml(
    tmp_path: Path, beside: str | None, exported: str
) -> None:
    Tokenizer.train(["the cat sat on the mat"] * 9, 300).save(tmp_path, beside)
    convert(save_minimind(model(), tmp_path / "a.pth"), tmp_path / "hf")
    assert Tokenizer.load(tmp_path / "hf").settings.chat_template == exported
    ends = json.loads((tmp_path / "hf" / "generation_config.json").read_text())["eos_token_id"]
    assert ends == [0, 2]


def test_a_tokenizer_without_chat_tokens_gets_no_template(tmp_path: Path) -> None:
    Tokenizer.train(["the cat sat on the mat"] * 9, 300).save(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(file.read_text().replace("<|im_", "<|other_"))
    convert(save_minimind(model(), tmp_path / "a.pth"), tmp_path / "hf")
    assert Tokenizer.load(tmp_path / "hf").settings.chat_template is None
    ends = json.loads((tmp_path / "hf" / "generation_config.json").read_text())["eos_token_id"]
    assert ends == [0]


@pytest.mark.slow
@pytest.mark.parametrize("tie", [True, False])
def test_transformers_gives_the_same_logits(tmp_path: Path, tie: bool) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    Tokenizer.train(["the cat sat on the mat"] * 9, 300).save(tmp_path)
    source = save_minimind(model(tie), tmp_path / "a.pth")
    convert(source, tmp_path / "hf")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float32)
    assert type(theirs).__name__ == "Qwen3ForCausalLM"
    ours = of(read_weights(source))
    with torch.no_grad():
        assert (theirs(IDS).logits - ours(IDS)).abs().max() <= 1e-5
    words = AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert words.decode(words("the cat").input_ids) == "the cat"


def test_a_run_and_its_checkpoint_are_sources_too(small: MakeConfig, tmp_path: Path) -> None:
    host = EngineHost(small(train__steps=2, log__val_every=0, log__probe_every=0))
    assert host.run() == "finished"
    checkpoint = host.run_dir.checkpoints / "step-000000002"
    of_run, of_checkpoint = read_weights(host.run_dir.path), read_weights(checkpoint)
    assert of_run.origin == of_checkpoint.origin == checkpoint
    convert(host.run_dir.path, tmp_path / "hf")
    assert torch.equal(of(of_run)(IDS), of(read_weights(tmp_path / "hf"))(IDS))


class Boom:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code from a pickle ran')",)


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    file = tmp_path / "evil.pth"
    file.write_bytes(pickle.dumps(Boom(), 2))
    # As torch says what it read, without its advice to read it all the same.
    refused = r"\(it holds (builtins.)?exec, which could run code; give plain tensors, best as saf"
    with pytest.raises(WeightsError, match=refused):
        read_weights(file)
    folder = tmp_path / "llama"
    model_folder("llama", folder)
    (folder / "model.safetensors").unlink()
    torch.save({"x": Boom(), "enough": torch.zeros(10_000)}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=refused):
        read_weights(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "llama"}, "tensor .*norm.* of this llama model has no place"),
        ({"model_type": "bart"}, "an encoder and a decoder"),
        ({"model_type": "t5"}, "an encoder and a decoder|does not continue texts"),
        ({"model_type": "vit"}, "a vit model does not continue texts"),
        ({"model_type": "grok-9"}, "a grok-9 model, which transformers does not know"),
        ({"model_type": 3}, "has no model_type"),
        ({"attention_bias": True}, "tensor .*bias of this qwen3 model is missing"),
        ({"hidden_act": "none-such"}, "cannot be read"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "Missing required keys"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised .gptq."),
        ({"quantization": {"group_size": 64, "bits": 4}}, "quantised .MLX."),
        ({"model_type": "gemma3", "vision_config": {"hidden_size": 8}}, "more than text .vision"),
        ({"intermediate_size": 65}, r"mlp.gate_proj.weight is \(64, 32\).*says \(65, 32\)"),
        ({"num_hidden_layers": 3}, "tensor model.layers.2.* is missing"),
        ({"num_hidden_layers": 1}, "tensor model.layers.1.* has no place"),
    ],
)
def test_what_a_decoder_cannot_represent_is_refused_with_the_reason(
    hf: Path, change: dict[str, object], sentence: str
) -> None:
    config = hf / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(WeightsError, match=sentence):
        read_weights(hf)


def test_damaged_and_missing_files_are_named(hf: Path, tmp_path: Path) -> None:
    weights = hf / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(WeightsError, match="model.safetensors: damaged"):
        read_weights(hf)
    weights.unlink()
    with pytest.raises(WeightsError, match="model.safetensors is missing"):
        read_weights(hf)
    with pytest.raises(WeightsError, match="no such run, checkpoint"):
        read_weights(tmp_path / "none")
    with pytest.raises(WeightsError, match="neither a run"):
        read_weights(tmp_path)


def test_shards_are_read_together_and_stay_in_their_folder(hf: Path) -> None:
    tensors = load_file(hf / "model.safetensors")
    names = sorted(tensors)
    parts = {"one.safetensors": names[:5], "two.safetensors": names[5:]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, hf / file)
    (hf / "model.safetensors").unlink()
    index = hf / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {n: f for f, part in parts.items() for n in part}}))
    assert read_weights(hf).tensors.keys() == set(names)
    index.write_text(json.dumps({"weight_map": {names[0]: "../../x.safetensors"}}))
    with pytest.raises(WeightsError, match="outside its folder"):
        read_weights(hf)


def test_an_existing_target_is_not_overwritten(hf: Path) -> None:
    with pytest.raises(WeightsError, match="exists already"):
        convert(hf.parent / "pretrain_32.pth", hf)


def test_a_folder_without_a_tokenizer_cannot_become_hugging_face(tmp_path: Path) -> None:
    source = save_minimind(model(), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"no tokenizer.json beside it"):
        convert(source, tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


def test_a_run_starts_from_the_weights_of_another(small: MakeConfig) -> None:
    parent = EngineHost(small(name="parent", train__steps=40))
    assert parent.run() == "finished"
    child = EngineHost(
        small(name="child", start_from="parent", train__steps=4, model__hidden_size=64)
    )
    assert child.run() == "finished", child.error
    info = child.run_dir.read_info()
    assert (info.parent, info.parent_checkpoint) == ("parent", "step-000000040")
    assert read_weights(child.run_dir.path).shape == read_weights(parent.run_dir.path).shape
    first, last = curve(child.run_dir)[1], curve(parent.run_dir)[40]
    assert abs(first - last) < 0.5 < curve(parent.run_dir)[1] - first


def test_a_child_goes_on_without_its_parent(small: MakeConfig, hf: Path) -> None:
    settings = {"name": "child", "start_from": str(hf), "train__steps": 3}
    child = EngineHost(small(**settings))
    assert child.run() == "finished", child.error
    shutil.rmtree(hf)
    config = resolve(child.run_dir.config, {"train.steps": 5})
    again = EngineHost(config, resume=child.run_dir)
    assert again.run() == "finished", again.error
    assert sorted(curve(child.run_dir)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("start", "sentence"), [("nowhere", "no such run, checkpoint"), ("bare.pth", "no tokenizer")]
)
def test_a_start_that_cannot_be_used_is_named(
    small: MakeConfig, tmp_path: Path, start: str, sentence: str
) -> None:
    save_minimind(model(), tmp_path / "bare.pth")
    host = EngineHost(small(start_from=str(tmp_path / start)))
    assert host.run() == "failed"
    assert host.refused and sentence in host.error
