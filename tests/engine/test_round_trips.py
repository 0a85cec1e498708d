"""Whatever stands beside weights and vocabulary survives every way of conversion."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from foreign_models import CHATML_TURNS, TURNS, byte_level, logits, model_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.checkpoints.weights import WeightsError, read_weights
from lmm_tui.engine.convert import convert

SPECIAL = ("<|endoftext|>", "<s>", "<unk>", "<start>", "<end>", "<stop>")
TALK = [{"role": "user", "content": "two"}, {"role": "assistant", "content": "four"}]


@st.composite
def made(draw: st.DrawFn) -> dict[str, Any]:
    """The settings of a model and its tokenizer."""
    names = {"eos_token": draw(st.sampled_from(["<|endoftext|>", "<end>", "<stop>"]))}
    for name, token in (
        ("bos_token", "<s>"),
        ("unk_token", "<unk>"),
        ("pad_token", "<|endoftext|>"),
    ):
        if draw(st.booleans()):
            names[name] = token
    template = draw(st.sampled_from([None, TURNS, "{{ bos_token }}" + TURNS + "{{ eos_token }}"]))
    return {
        "names": names,
        "template": template,
        "adds_bos": "bos_token" in names and draw(st.booleans()),
        "stops": draw(st.lists(st.sampled_from(SPECIAL[3:]), unique=True)),
        "config": {
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": draw(st.sampled_from([1e4, 5e5, 1e6, 5e6])),
            },
            "rms_norm_eps": draw(st.sampled_from([1e-6, 1e-5, 1e-2])),
            "max_position_embeddings": draw(st.integers(16, 40960)),
            "tie_word_embeddings": draw(st.booleans()),
        },
    }


def write(folder: Path, given_: dict[str, Any]) -> None:
    """As transformers writes it, with weights that fp16 holds."""
    backend = byte_level(SPECIAL, bos="<s>" if given_["adds_bos"] else None)
    model_folder(folder, backend, given_["template"], config=given_["config"], **given_["names"])
    tensors = load_file(folder / "model.safetensors")
    halved = {name: tensor.half().float() for name, tensor in tensors.items()}
    save_file(halved, folder / "model.safetensors", metadata={"format": "pt"})
    eos = [backend.token_to_id(t) for t in (given_["names"]["eos_token"], *given_["stops"])]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": eos}))


def seen(folder: Path) -> dict[str, Any]:
    """What transformers reads in a folder."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    config, words = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    stops = GenerationConfig.from_pretrained(folder).eos_token_id
    template = words.chat_template
    return {
        "theta": config.rope_parameters["rope_theta"],
        "eps": config.rms_norm_eps,
        "context": config.max_position_embeddings,
        "tied": config.tie_word_embeddings,
        "names": words.special_tokens_map,
        "ids": words("What is two?").input_ids,
        "chat": template and list(words.apply_chat_template(TALK, return_dict=False)),
        "stops": set(stops if isinstance(stops, list) else [stops]),
    }


@settings(deadline=None, max_examples=12)
@given(given_=made(), way=st.lists(st.sampled_from(["hf", "pth"]), min_size=1, max_size=3))
def test_settings_survive_every_way_of_conversion(given_: dict[str, Any], way: list[str]) -> None:
    with TemporaryDirectory() as scratch:
        place = Path(scratch)
        write(place / "start", given_)
        path = place / "start"
        for number, form in enumerate((*way, "hf")):
            (place / str(number)).mkdir()
            target = place / str(number) / ("m.pth" if form == "pth" else "m")
            assert convert(path, target).notes == ()
            path = target
        right, found = seen(place / "start"), seen(path)
        ended = found.pop("stops") - right.pop("stops")
        tokens = Tokenizer.load(path)
        # Besides those of generation_config, answers end where the template ends turns.
        assert ended <= {tokens.id_of("<end>"), tokens.id_of("<|endoftext|>")}
        assert found == right
        ids = torch.arange(12).reshape(1, 12)
        assert torch.equal(logits(place / "start", ids), logits(path, ids))


def test_a_pth_file_beside_another_tokenizer_says_so(tmp_path: Path) -> None:
    backend = byte_level(["<|endoftext|>"])
    model_folder(tmp_path / "model", backend, eos_token="<|endoftext|>")
    Tokenizer.train(["another one "] * 9, 280).save(tmp_path / "tokenizer.json")
    kept = (tmp_path / "tokenizer.json").read_text()
    [note] = convert(tmp_path / "model", tmp_path / "m.pth").notes
    assert "is the tokenizer of another model" in note
    assert (tmp_path / "tokenizer.json").read_text() == kept


def test_a_pth_file_without_its_sidecar_is_taken_as_minimind_s_and_that_is_said(
    tmp_path: Path,
) -> None:
    model_folder(tmp_path / "model", byte_level(["<|endoftext|>"]), eos_token="<|endoftext|>")
    convert(tmp_path / "model", tmp_path / "m.pth")
    assert read_weights(tmp_path / "m.pth").notes == ()
    (tmp_path / "m.pth.json").unlink()
    [note] = convert(tmp_path / "m.pth", tmp_path / "again").notes
    assert "taken as MiniMind's: 1e+06, 1e-06, 32768" in note


@pytest.mark.parametrize("written", ['{"rope_theta": "1e6"}', '{"rms_eps": null}', "[1]", "{"])
def test_a_damaged_sidecar_is_refused_by_name(tmp_path: Path, written: str) -> None:
    model_folder(tmp_path / "model", byte_level(["<|endoftext|>"]), eos_token="<|endoftext|>")
    convert(tmp_path / "model", tmp_path / "m.pth")
    (tmp_path / "m.pth.json").write_text(written)
    with pytest.raises(WeightsError, match=r"m\.pth\.json: "):
        read_weights(tmp_path / "m.pth")


@pytest.mark.parametrize("own", [True, False])
def test_the_template_beside_a_pth_file_is_used(tmp_path: Path, own: bool) -> None:
    """MiniMind's file beside its tokenizer: the template is exported, and training may use it."""
    from transformers import AutoTokenizer

    backend = byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    template = ("{{ '[own]' }}" if own else "") + CHATML_TURNS
    model_folder(tmp_path / "model", backend, template, eos_token="<|im_end|>")
    convert(tmp_path / "model", tmp_path / "m.pth")
    convert(tmp_path / "m.pth", tmp_path / "again")
    texts = [
        AutoTokenizer.from_pretrained(tmp_path / name).apply_chat_template(TALK, tokenize=False)
        for name in ("model", "again")
    ]
    assert texts[0] == texts[1]
