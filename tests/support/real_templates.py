"""Chat templates as published, each with a small tokenizer of the kind that its models have.

Those of Qwen, Llama, Gemma and Phi are the files that TRL ships. MiniMind's (model/
tokenizer_config.json of jingyaogong/minimind) is Qwen3's but for two places; SmolLM2's is that of
HuggingFaceTB/SmolLM2-135M-Instruct.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from foreign_models import WORDS, byte_level, tokenizer_folder

from lmm_tui.data.chat.tokenizer_template import TokenizerTemplate
from lmm_tui.data.tokenizing.tokenizer import Tokenizer

LETTERS = "abcyzé你好123.,?!' \n"
"""What texts are made of here; every tokenizer has a token for each letter."""

SMOLLM2 = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def trl_template(name: str) -> str:
    trl = pytest.importorskip("trl")
    path = Path(trl.__file__).parent / f"chat_templates/{name}.jinja"
    return path.read_text(encoding="utf-8")


def minimind_template() -> str:
    """Thoughts in every answer, and a prompt that closes them unless `open_thinking` is set."""
    shown = trl_template("qwen3")
    for theirs, here in (
        ("loop.index0 > ns.last_query_index", "true"),
        ("loop.last or (not loop.last and reasoning_content)", "true"),
        (
            "{%- if enable_thinking is defined and enable_thinking is false %}",
            "{%- if open_thinking is defined and open_thinking is true %}\n"
            "        {{- '<think>\\n' }}\n    {%- else %}",
        ),
    ):
        assert shown.count(theirs) == 1
        shown = shown.replace(theirs, here)
    return shown


def sentencepiece_like(special: Sequence[str], rstrip: Sequence[str] = ()) -> Any:
    """As Llama-2's and Phi-3's: a mark in front of every piece between special tokens."""
    from tokenizers import normalizers

    marked = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return _bpe(special, rstrip, marked)


def gemma_like(special: Sequence[str]) -> Any:
    """As Gemma's: spaces are marked, and nothing is put in front."""
    from tokenizers import normalizers

    return _bpe(special, (), normalizers.Replace(" ", "▁"))


def metaspace(special: Sequence[str], scheme: str, rstrip: Sequence[str] = ()) -> Any:
    from tokenizers import pre_tokenizers

    made = _bpe(special, rstrip, None)
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    return made


def _bpe(special: Sequence[str], rstrip: Sequence[str], normalizer: Any) -> Any:
    from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Backend

    made = Backend(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    trainer = trainers.BpeTrainer(
        vocab_size=200,
        special_tokens=["<unk>"],
        initial_alphabet=[*LETTERS, "▁", *"<|>/_defghijklmnopqrstuvw"],
        show_progress=False,
    )
    made.train_from_iterator(WORDS, trainer)
    if normalizer is not None:
        made.normalizer, made.pre_tokenizer = normalizer, None  # type: ignore[assignment]
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    made.add_special_tokens(
        [AddedToken(t, special=True, normalized=False, rstrip=t in rstrip) for t in special]
    )
    return made


class Family(NamedTuple):
    source: Callable[[], str]
    backend: Callable[[], Any]
    names: dict[str, str]


_PATTERN = (  # Qwen2's and, but for the digits, Llama-3's.
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
_CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_THINK = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
_THINK += ["<think>", "</think>"]
_LLAMA = [
    *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>"),
    *("<|eom_id|>", "<|eot_id|>", "<|python_tag|>"),
]
_LLAMA_NAMES = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
_GEMMA = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
_GEMMA_NAMES = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
_PHI = ["<s>", "</s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"]
_PHI_NAMES = {"bos_token": "<s>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}

_QWENS = ("qwen3", "qwen3_training", "qwen2_5", "qwen2_5_training", "qwen3_instruct_2507")
_LLAMAS = ("llama3", "llama3_training", "llama3_1", "llama3_2")
_GEMMAS = ("gemma", "gemma_training", "gemma3", "gemma3_training")
_PHIS = ("phi3", "phi3_training", "phi3_5", "phi3_5_training")

FAMILIES = {
    "minimind": Family(
        minimind_template, partial(byte_level, _CHATML, _THINK, pattern=_PATTERN), _QWEN
    ),
    "smollm2": Family(lambda: SMOLLM2, partial(byte_level, _CHATML, pattern=_PATTERN), _QWEN),
    **{
        name: Family(
            partial(trl_template, name),
            partial(byte_level, _CHATML, _THINK, pattern=_PATTERN),
            _QWEN,
        )
        for name in _QWENS
    },
    **{
        name: Family(
            partial(trl_template, name),
            partial(byte_level, _LLAMA, bos="<|begin_of_text|>", pattern=_PATTERN),
            _LLAMA_NAMES,
        )
        for name in _LLAMAS
    },
    **{
        name: Family(partial(trl_template, name), partial(gemma_like, _GEMMA), _GEMMA_NAMES)
        for name in _GEMMAS
    },
    **{
        name: Family(
            partial(trl_template, name), partial(sentencepiece_like, _PHI, _PHI[3:]), _PHI_NAMES
        )
        for name in _PHIS
    },
}


class Opened(NamedTuple):
    ours: Tokenizer
    template: TokenizerTemplate
    theirs: Any


@cache
def opened(name: str) -> Opened:
    """The tokenizer and template of a family here, and as transformers has them."""
    family = FAMILIES[name]
    return open_folder(family.backend(), family.source(), **family.names)


def open_folder(backend: Any, source: Any, **names: str) -> Opened:
    with tempfile.TemporaryDirectory() as folder:
        theirs = tokenizer_folder(Path(folder), backend, source, **names)
        ours = Tokenizer.load(Path(folder))
        return Opened(ours, TokenizerTemplate.load(Path(folder), ours), theirs)
