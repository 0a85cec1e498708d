"""What is read from a folder or a .pth computes what transformers computes, or is refused."""

import json
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_models import byte_level, logits, model_folder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.checkpoints.weights import WeightsError, read_weights
from lmm_tui.engine.convert import convert
from lmm_tui.errors import LmmError

IDS = torch.arange(5, 205).reshape(1, 200)
YARN = {"factor": 4.0, "original_max_position_embeddings": 128}


def ours(path: Path) -> torch.Tensor:
    with torch.no_grad():
        return read_weights(path).model().eval()(IDS)


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
        {
            "layer_types": ["full_attention", "sliding_attention"],
            "use_sliding_window": True,
            "sliding_window": 16,
        },
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
    ],
)
def test_what_our_decoder_has_not_is_computed_as_transformers_does(
    folder: Path, rope: dict[str, Any]
) -> None:
    change(folder, rope)
    assert (ours(folder) - logits(folder, IDS)).abs().max() < 1e-5


def test_a_config_that_promises_more_than_the_files_hold_costs_no_memory(folder: Path) -> None:
    change(folder, {"use_sliding_window": True, "vocab_size": 4_000_000})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match=r"describes a model of 256,\d+,\d+ weights, and the f"):
        read_weights(folder)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 4 * 256_000_000 / 1024 / 2  # KiB: half of what the weights would take.


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_key_that_stands_twice_in_a_file_of_settings_is_refused(folder: Path, file: str) -> None:
    text = (folder / file).read_text().rstrip().removesuffix("}").rstrip()
    lines = text.count("\n") + 1
    (folder / file).write_text(text + ',\n"odd": 1,\n"odd": 2}')
    with pytest.raises(LmmError, match=f'{file}:{lines + 2}: the key "odd" stands tw'):
        Tokenizer.load(folder)
        read_weights(folder)


def test_quantised_weights_are_refused(folder: Path) -> None:
    change(folder, {"quantization_config": {"quant_method": "fp8"}})
    with pytest.raises(WeightsError, match=r"weights are quantised \(fp8\) and cannot be trained"):
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


MALFORMED = {
    "no object": "[1, 2]",
    "no JSON": "{",
    "nested": "[" * 100_000,
    "nested in an object": '{"a": ' * 100_000,
    "not UTF-8": b"\xff\xfe",
    "an empty table": {},
    "nothing but its type": {"model_type": "qwen3"},
    "a type that is a list": {"model_type": ["qwen3"]},
    "no heads": {"num_attention_heads": 0},
    "fewer than no heads": {"num_attention_heads": -4},
    "half a head": {"num_attention_heads": 2.5},
    "heads as a text": {"num_attention_heads": "four"},
    "heads that are true": {"num_attention_heads": True},
    "heads that do not divide": {"num_attention_heads": 4, "num_key_value_heads": 3},
    "an odd head": {"head_dim": 7},
    "a size of 2^62": {"hidden_size": 2**62},
    "a size of 10^400": {"intermediate_size": 10**400},
    "layers of 10^9": {"num_hidden_layers": 10**9},
    "a vocabulary of 2^40": {"vocab_size": 2**40},
    "no width": {"hidden_size": None},
    "an epsilon as a text": {"rms_norm_eps": "small"},
    "an epsilon of NaN": {"rms_norm_eps": float("nan")},
    "a base below zero": {"rope_theta": -1.0, "rope_parameters": None},
    "rope as a list": {"rope_parameters": [1]},
    "rope as a text": {"rope_scaling": "linear"},
    "layers as a text": {"layer_types": "full_attention"},
    "positions of 2^60": {"max_position_embeddings": 2**60},
}


@pytest.mark.parametrize("given", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_config_is_one_sentence(folder: Path, given: Any) -> None:
    file = folder / "config.json"
    if isinstance(given, dict):
        known = json.loads(file.read_text()) if given and "model_type" not in given else {}
        given = json.dumps(known | given)
    file.write_bytes(given if isinstance(given, bytes) else given.encode())
    with pytest.raises(WeightsError) as refused:
        read_weights(folder)
    assert len(str(refused.value)) < 400 + len(str(folder)) and "\n" not in str(refused.value)


@given(
    found=st.dictionaries(
        st.sampled_from(["hidden_size", "head_dim", "layer_types", "rope_parameters", "vocab_size"])
        | st.sampled_from(["num_attention_heads", "rms_norm_eps", "tie_word_embeddings"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    )
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_a_config_holds_it_is_read_or_refused(folder: Path, found: dict[str, Any]) -> None:
    file = folder / "config.json"
    before = file.read_text()
    try:
        file.write_text(json.dumps(json.loads(before) | found))
        read_weights(folder)
    except WeightsError:
        pass
    finally:
        file.write_text(before)


@pytest.mark.parametrize("index", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_a_malformed_index_is_one_sentence(folder: Path, index: str) -> None:
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(WeightsError, match=r"index\.json: (has no weight_map|is no table)"):
        read_weights(folder)


@pytest.mark.parametrize(
    "said", [{"rope_theta": "1"}, {"rms_eps": -1}, {"max_positions": True}, []]
)
def test_a_malformed_sidecar_is_one_sentence(folder: Path, said: Any) -> None:
    convert(folder, folder / "m.pth")
    (folder / "m.pth.json").write_text(json.dumps(said))
    with pytest.raises(WeightsError, match=r"m\.pth\.json"):
        read_weights(folder / "m.pth")
