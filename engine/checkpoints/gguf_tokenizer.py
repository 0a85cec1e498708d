"""The vocabulary of a model in a GGUF file, for llama.cpp's byte-level BPE.

llama.cpp knows each way to cut a text into words by a name only, so a tokenizer that cuts in
another way cannot be written: it would give other ids without a word.
"""

from __future__ import annotations

import json
from typing import Any

import gguf
from gguf import TokenType

from lmm_tui.data.tokenizing.split_patterns import GPT2, LLAMA3, OURS, QWEN2
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.message import Message

_SINGLE_DIGITS = "each digit apart, then as GPT-2"
"""SmolLM's way, which is no single pattern."""
_NAMES = {
    GPT2: "gpt-2",
    QWEN2: "qwen2",
    LLAMA3: "llama-bpe",
    OURS: "qwen2",
    _SINGLE_DIGITS: "smollm",
}
"""How llama.cpp calls a pattern. Ours is finer than Qwen's, but for contractions: pairs across its
borders were never learnt, and so are not merged where Qwen's has no border."""


def add_tokenizer(
    writer: gguf.GGUFWriter, tokenizer: Tokenizer, vocab_size: int, end_of_turn: int
) -> str:
    """Add tokens, merges and special ids; padded to `vocab_size`, the rows of the embedding.

    Returns a sentence where llama.cpp will cut some words in another way, else ''.
    """
    content = json.loads(tokenizer.serialised)
    model = content["model"]
    pattern = _pattern(content.get("pre_tokenizer"))
    if model.get("type") != "BPE" or pattern not in _NAMES:
        raise WeightsError(
            "the tokenizer cuts words in a way that llama.cpp has no name for, so a GGUF file "
            "would give other token ids; write a Hugging Face folder instead"
        )
    added = {entry["id"]: entry for entry in content.get("added_tokens", [])}
    pieces = {token: piece for piece, token in model["vocab"].items()}
    tokens, kinds = [], []
    for token in range(vocab_size):
        if token in added:
            tokens.append(added[token]["content"])
            special = added[token]["special"]
            kinds.append(TokenType.CONTROL if special else TokenType.USER_DEFINED)
        else:
            tokens.append(pieces.get(token, f"[PAD{token}]"))
            kinds.append(TokenType.NORMAL if token in pieces else TokenType.UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_NAMES[pattern])
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([_merge(pair) for pair in model["merges"]])
    writer.add_eos_token_id(end_of_turn)
    writer.add_eot_token_id(end_of_turn)
    for name, add in (
        ("bos_token", writer.add_bos_token_id),
        ("pad_token", writer.add_pad_token_id),
    ):
        if (token_id := tokenizer.named_id(name)) is not None:
            add(token_id)
    writer.add_add_bos_token(tokenizer.encode_as_input("")[:1] == [tokenizer.named_id("bos_token")])
    return _contractions_note() if pattern == OURS else ""


def _contractions_note() -> str:
    return Message(
        "llama.cpp cuts words as Qwen's tokenizer does, which differs from this "
        "one after a single quote: 'really becomes 're and ally, and may get "
        "other token ids"
    )


def _pattern(pre_tokenizer: dict[str, Any] | None) -> str | None:
    """How a byte-level pre-tokenizer cuts, one of `_NAMES`; None if it is another way."""
    steps = (pre_tokenizer or {}).get("pretokenizers", [pre_tokenizer])
    match steps:
        case [{"type": "ByteLevel", "use_regex": True, "add_prefix_space": False}]:
            return GPT2
        case [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "use_regex": True, "add_prefix_space": False},
        ]:
            return _SINGLE_DIGITS
        case [
            {
                "type": "Split",
                "pattern": {"Regex": pattern},
                "behavior": "Isolated",
                "invert": False,
            },
            {"type": "ByteLevel", "use_regex": False, "add_prefix_space": False},
        ]:
            return str(pattern)
    return None


def _merge(pair: str | list[str]) -> str:
    return pair if isinstance(pair, str) else " ".join(pair)


if __name__ == "__main__":
    words = Tokenizer.train(["the cat sat on the mat"] * 9, 280)
    found = _pattern(json.loads(words.serialised)["pre_tokenizer"])
    print(found)
    assert found == OURS
    print("=== 自测通过 ===")
