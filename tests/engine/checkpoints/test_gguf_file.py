"""A GGUF file holds the same model: by transformers' loader and by llama.cpp itself."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import pytest
import tokenizers
import torch
from architectures import AS_GGUF, model_folder
from tokenizers import decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM

from lmm_tui.data.builtin.stories import story
from lmm_tui.data.tokenizing.tokenizer import IM_END, Tokenizer
from lmm_tui.engine.checkpoints.gguf_architectures import gguf_model
from lmm_tui.engine.checkpoints.gguf_file import Quantisation, described, write_gguf
from lmm_tui.engine.checkpoints.weights import WeightsError, read_weights
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.convert import convert
from lmm_tui.engine.model.decoder import Decoder

STORIES = [story(0, index) for index in range(60)]
WORDS = Tokenizer.train(STORIES, 600)
_CALL = """
import json, os, sys, urllib.request
import xllamacpp
file, texts, prompts = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_gpu_layers, params.warmup = file, 256, 0, False
params.cpuparams.n_threads = 1
server = xllamacpp.Server(params)
def ask(path, **what):
    headers = {"content-type": "application/json"}
    address, body = server.listening_address + path, json.dumps(what).encode()
    return json.load(urllib.request.urlopen(urllib.request.Request(address, body, headers)))
ids = [ask("/tokenize", content=text, parse_special=True)["tokens"] for text in texts]
top = []
for prompt in prompts:
    told = ask("/completion", prompt=prompt, n_predict=1, temperature=0, n_probs=5)
    # A token that is a part of a character has no text yet, and is left out.
    found = told.get("completion_probabilities") or [{"top_logprobs": []}]
    top.append([[each["id"], each["logprob"]] for each in found[0]["top_logprobs"]])
print(json.dumps([ids, top]), flush=True)
os._exit(0)
"""


def model(tie: bool) -> Decoder:
    shape = ModelShape(
        *(WORDS.vocab_size, 64, 2, 4, 2, 16, 96),
        tie_embeddings=tie,
        rope_theta=5e5,
        rms_eps=1e-5,
        max_positions=128,
    )
    decoder = Decoder(shape)
    decoder.init_weights(1)
    noise = torch.Generator().manual_seed(1)
    for parameter in decoder.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=noise))
    return decoder.eval()


def write(decoder: Decoder, file: Path, quantisation: Quantisation) -> Path:
    write_gguf(
        file,
        gguf_model(decoder.shape, None, file),
        decoder.state_dict(),
        WORDS,
        name="test",
        quantisation=quantisation,
        chat_template=None,
        end_of_turn=2,
    )
    return file


@pytest.mark.parametrize(("quantisation", "off"), [("f32", 1e-5), ("f16", 2e-2), ("q8_0", 0.1)])
@pytest.mark.parametrize("tie", [True, False])
def test_transformers_loads_the_same_model(
    tmp_path: Path, quantisation: Quantisation, off: float, tie: bool
) -> None:
    decoder = model(tie)
    write(decoder, tmp_path / "m.gguf", quantisation)
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="m.gguf", dtype=torch.float32, head_dim=16
    )
    ids = torch.tensor([WORDS.encode(STORIES[3])[:40]])
    with torch.no_grad():
        difference = (theirs(ids).logits - decoder(ids)).abs().max().item()
        ours = read_weights(tmp_path / "m.gguf").model().eval()(ids)
    assert difference < off
    assert (ours - theirs(ids).logits).abs().max() < 1e-4  # With the size of a head as it says.
    assert theirs.config.rope_parameters["rope_theta"] == 5e5
    assert theirs.config.rms_norm_eps == pytest.approx(1e-5)
    assert theirs.config.max_position_embeddings == 128


@pytest.mark.parametrize(
    ("key", "lie"), [("block_count", 10**9), ("feed_forward_length", 2**26), ("block_count", 500)]
)
def test_a_file_that_promises_more_than_it_holds_costs_no_memory(
    tmp_path: Path, key: str, lie: int
) -> None:
    file = write(model(True), tmp_path / "m.gguf", "f32")
    field = gguf.GGUFReader(file, "r+").get_field(f"qwen3.{key}")
    assert field is not None
    field.parts[field.data[0]][0] = lie
    with pytest.raises(WeightsError, match="describes a model of|more than any model"):
        read_weights(file)


def by_llama_cpp(
    file: Path, texts: list[str], prompts: list[list[int]]
) -> tuple[list[list[int]], list[list[tuple[int, float]]]]:
    """Ids of the texts, and the likeliest next tokens of each prompt with their log p."""
    called = [sys.executable, "-c", _CALL, str(file), json.dumps(texts), json.dumps(prompts)]
    said = subprocess.run(called, capture_output=True, text=True, check=False)
    assert not said.returncode, said.stderr[-2000:]
    ids, top = json.loads(said.stdout.splitlines()[-1])
    return ids, top


NOT_READ_BY_TRANSFORMERS = {"olmo2"}
UNREAD = {
    "qwen3_moe": ("moe_intermediate_size", "norm_topk_prob"),
    "gemma2": ("query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping"),
    "gemma3_text": ("query_pre_attn_scalar",),
    "gpt2": ("n_positions",),
    "qwen3": ("head_dim",),
}
"""What transformers' loader takes from its defaults, not from a file."""


@pytest.mark.parametrize("name", AS_GGUF)
def test_a_foreign_model_is_the_same_there(tmp_path: Path, name: str) -> None:
    """By transformers' loader to 1e-4 of the largest logit, and by llama.cpp, which keeps keys and
    values in fp16."""
    WORDS.save(tmp_path / "m")
    changes = {"vocab_size": WORDS.vocab_size, **AS_GGUF[name]}
    theirs = model_folder(name, tmp_path / "m", **changes)
    convert(tmp_path / "m", tmp_path / "m.gguf", quantisation="f32")
    prompts = [WORDS.encode(text)[:30] for text in STORIES[:6]]
    with torch.no_grad():
        logits = [theirs(torch.tensor([each])).logits[0, -1] for each in prompts]
    if name not in NOT_READ_BY_TRANSFORMERS:
        _transformers_reads(tmp_path, name, theirs, prompts, logits)
    elif importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("nothing here reads the file")
    if importlib.util.find_spec("xllamacpp") is None:
        return
    _, top = by_llama_cpp(tmp_path / "m.gguf", [], prompts)
    assert sum(map(bool, top)) >= 2
    for likeliest, wanted in zip(top, logits, strict=True):
        log_p = wanted.log_softmax(-1)
        for token, found in likeliest:
            assert found == pytest.approx(log_p[token].item(), abs=0.03)


def _transformers_reads(
    folder: Path, name: str, theirs: Any, prompts: list[list[int]], logits: list[torch.Tensor]
) -> None:
    back = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file="m.gguf",
        dtype=torch.float32,
        **{key: getattr(theirs.config, key) for key in UNREAD.get(name, ())},
    ).eval()
    with torch.no_grad():
        for each, wanted in zip(prompts, logits, strict=True):
            found = back(torch.tensor([each])).logits[0, -1]
            torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_llama_cpp_gives_the_same_ids_and_likelihoods(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    decoder = model(tie=True)
    file = write(decoder, tmp_path / "m.gguf", "f32")
    texts = [
        STORIES[70 % len(STORIES)],
        "a  (b) ;\n\n  c\n\td 123 45,678  . e  !\r\n\r\n小猫，坐着。“好”！ it's",
        "<|im_start|>user\nhi<|im_end|>\n",
    ]
    prompts = [WORDS.encode(text)[:30] for text in STORIES[:20]]
    ids, top = by_llama_cpp(file, texts, prompts)
    assert ids == [WORDS.encode(text) for text in texts]
    with torch.no_grad():
        ours = [torch.log_softmax(decoder(torch.tensor([each]))[0, -1], -1) for each in prompts]
    # llama.cpp keeps keys and values in fp16.
    expected = [
        [logprobs[token].item() for token, _ in found]
        for found, logprobs in zip(top, ours, strict=True)
    ]
    assert sum(map(bool, top)) >= 5
    for found, logprobs in zip(top, expected, strict=True):
        assert [logprob for _, logprob in found] == pytest.approx(logprobs, abs=0.02)


def test_blocks_are_as_asked_and_whole(tmp_path: Path) -> None:
    kinds = {
        tensor.name: tensor.tensor_type.name
        for tensor in gguf.GGUFReader(write(model(False), tmp_path / "m.gguf", "q4_0")).tensors
    }
    assert kinds["blk.0.attn_q.weight"] == "Q4_0" and kinds["output.weight"] == "Q8_0"
    assert kinds["blk.1.attn_norm.weight"] == kinds["blk.0.attn_q_norm.weight"] == "F32"
    narrow = ModelShape(WORDS.vocab_size, 48, 1, 4, 2, 12, 96)
    decoder = Decoder(narrow)
    decoder.init_weights(0)
    kinds = {
        tensor.name: tensor.tensor_type.name
        for tensor in gguf.GGUFReader(write(decoder, tmp_path / "n.gguf", "q8_0")).tensors
    }
    assert kinds["blk.0.attn_q.weight"] == "F16" and kinds["blk.0.ffn_down.weight"] == "Q8_0"


def test_a_run_s_chat_ends_where_it_learnt_to(tmp_path: Path) -> None:
    decoder = model(True)
    WORDS.save(tmp_path)
    torch.save(decoder.state_dict(), tmp_path / "chat_64.pth")
    weights = convert(tmp_path / "chat_64.pth", tmp_path / "chat.gguf", quantisation="q8_0")
    keys = described(tmp_path / "chat.gguf")
    assert keys["tokenizer.ggml.eos_token_id"] == WORDS.id_of(IM_END)
    assert "<|im_start|>" in keys["tokenizer.chat_template"]
    assert any("llama.cpp cuts words" in note for note in weights.notes)
    with pytest.raises(WeightsError, match="exists already"):
        convert(tmp_path / "chat_64.pth", tmp_path / "chat.gguf")


def test_a_tokenizer_that_llama_cpp_cannot_follow_is_refused(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(models.BPE({"<|endoftext|>": 0, "a": 1}, []))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    Tokenizer(backend, "<|endoftext|>").save(tmp_path)
    decoder = Decoder(ModelShape(2, 32, 1, 2, 1, 16, 32))
    decoder.init_weights(0)
    torch.save(decoder.state_dict(), tmp_path / "a_32.pth")
    with pytest.raises(WeightsError, match="no name for"):
        convert(tmp_path / "a_32.pth", tmp_path / "a.gguf")
    assert not list(tmp_path.glob("*.gguf")) and not list(tmp_path.glob("*.writing"))
