"""What is read from a folder or a .pth computes what transformers computes, or is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_models import byte_level, logits, model_folder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from lmm_tui.engine.checkpoints.weights import WeightsError, read_weights
from lmm_tui.engine.convert import convert

IDS = torch.arange(5, 205).reshape(1, 200)
YARN = {"factor": 4.0, "original_max_position_embeddings": 128}


def ours(path: Path) -> torch.Tensor:
    with torch.no_grad():
        return read_weights(path).decoder().eval()(IDS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model_folder(tmp_path / "m", byte_level(["<|endoftext|>"]), eos_token="<|endoftext|>")
    return tmp_path / "m"


def change(folder: Path, new: dict[str, Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    config.pop("rope_parameters")
    (folder / "config.json").write_text(json.dumps(config | new))


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_scaling": {"rope_type": "yarn", **YARN}, "rope_theta": 1e6},
        {"rope_scaling": {"type": "yarn", **YARN}, "rope_theta": 1e6},
        {"rope_scaling": {"type": "linear", "factor": 4.0}, "rope_theta": 1e6},
        {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0},
        {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 16},
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        {"quantization_config": {"quant_method": "fp8"}},
    ],
)
def test_what_changes_the_model_is_refused_by_name(folder: Path, rope: dict[str, Any]) -> None:
    change(folder, rope)
    with pytest.raises(WeightsError, match=r"config.json sets \w+"):
        read_weights(folder)


@pytest.mark.parametrize(
    "rope",
    [
        {},
        {"rope_theta": 5e5},
        {"rope_scaling": None, "rope_theta": 1e4},
        {"rope_scaling": {"type": "default"}, "rope_theta": 2e4},
        {"rope_parameters": {"rope_theta": 3e4, "rope_type": "default"}},
    ],
)
def test_rope_is_that_of_transformers_also_where_nothing_is_said(
    folder: Path, rope: dict[str, Any]
) -> None:
    change(folder, rope)
    assert (ours(folder) - logits(folder, IDS)).abs().max() < 1e-5


def test_unknown_keys_are_listed(folder: Path) -> None:
    change(folder, {"rope_theta": 1e6, "sparse_gate": 3, "eos_token_id": 1})
    [note] = read_weights(folder).notes
    assert note.endswith("without effect: sparse_gate")


def test_a_tied_flag_with_another_head_is_an_error(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, file, metadata={"format": "pt"})
    read_weights(folder)
    tensors["lm_head.weight"] += 1
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="set tie_word_embeddings to false"):
        read_weights(folder)
    change(folder, {"rope_theta": 1e6, "tie_word_embeddings": False})
    assert (ours(folder) - logits(folder, IDS)).abs().max() < 1e-4


@settings(
    deadline=None, max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    theta=st.sampled_from([1e4, 5e5, 5e6]),
    eps=st.sampled_from([1e-6, 1e-5, 1e-2]),
    positions=st.sampled_from([256, 512, 40960]),
)
def test_a_pth_and_back_keeps_rope_eps_and_context(
    tmp_path_factory: pytest.TempPathFactory, theta: float, eps: float, positions: int
) -> None:
    home = tmp_path_factory.mktemp("pth")
    backend = byte_level(["<|endoftext|>"])
    config = {
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "rms_norm_eps": eps,
        "max_position_embeddings": positions,
    }
    model_folder(home / "m", backend, config=config, eos_token="<|endoftext|>")
    convert(home / "m", home / "m.pth")
    assert read_weights(home / "m.pth").shape == read_weights(home / "m").shape
    (home / "tokenizer.json").write_bytes((home / "m/tokenizer.json").read_bytes())
    convert(home / "m.pth", home / "again")
    # A .pth holds fp16.
    assert (logits(home / "again", IDS) - logits(home / "m", IDS)).abs().max() < 2e-3


def test_a_pth_without_its_numbers_says_which_are_taken(folder: Path) -> None:
    file = folder / "m.pth"
    convert(folder, file)
    assert read_weights(file).notes == ()
    (folder / "m.pth.json").unlink()
    [note] = read_weights(file).notes
    assert "taken as MiniMind's: 1e+06, 1e-06, 32768" in note


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors", ".bin", ".pt"])
def test_a_file_of_another_format_is_refused(folder: Path, suffix: str) -> None:
    target = folder / f"m{suffix}"
    with pytest.raises(WeightsError, match=f"a {suffix} file cannot be written"):
        convert(folder, target)
    assert not target.exists() or suffix == ".safetensors"
