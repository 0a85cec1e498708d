"""Folders as transformers writes them: tokenizers with templates of their own, and Qwen3 models."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

WORDS = ["The cat sat on the mat. What is two and three? user assistant system tool four\n\n"] * 50

TURNS = (
    "{% for m in messages %}{{ '<start>' + m.role + '\\n' + m.content + '<end>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start>assistant\\n' }}{% endif %}"
)
CHATML_TURNS = TURNS.replace("<start>", "<|im_start|>").replace("<end>", "<|im_end|>")


def byte_level(
    special: Sequence[str],
    plain: Sequence[str] = (),
    bos: str | None = None,
    pattern: str | None = None,
) -> Any:
    """A byte-level BPE tokenizer; with `bos` its post-processor puts that token first.

    `pattern` splits text into words, GPT-2's otherwise.
    """
    import tokenizers
    from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors, trainers

    made = tokenizers.Tokenizer(models.BPE())
    if pattern:
        words = pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        made.pre_tokenizer = pre_tokenizers.Sequence([words, level])
    else:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(WORDS, trainer)
    made.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    made.add_tokens([AddedToken(t, special=False, normalized=False) for t in plain])
    if bos:
        made.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A $B",
            special_tokens=[(bos, made.token_to_id(bos))],
        )
    return made


def tokenizer_folder(folder: Path, backend: Any, template: str | None = None, **names: Any) -> Any:
    """Write a tokenizer; returns it as transformers has it."""
    from transformers import PreTrainedTokenizerFast

    found = PreTrainedTokenizerFast(
        tokenizer_object=backend, clean_up_tokenization_spaces=False, **names
    )
    found.chat_template = template
    found.save_pretrained(folder)
    return found


def model_folder(
    folder: Path,
    backend: Any,
    template: str | None = None,
    *,
    config: dict[str, Any] | None = None,
    scale: float = 1.0,
    **names: Any,
) -> Any:
    """Write a small Qwen3 and its tokenizer; returns the model. `names` are those of tokens."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer_folder(folder, backend, template, **names)
    torch.manual_seed(0)
    shape = {
        "vocab_size": max(backend.get_vocab().values()) + 1,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    }
    model = Qwen3ForCausalLM(Qwen3Config(**(shape | (config or {}))))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(scale)
    model.save_pretrained(folder)
    return model


def logits(folder: Path, ids: torch.Tensor) -> torch.Tensor:
    """As transformers computes them from a folder."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        found: torch.Tensor = model(ids).logits
        return found


def json_lines(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return str(path)


def sums(path: Path) -> str:
    """144 conversations of one question and its answer."""
    return json_lines(
        path,
        (
            {
                "messages": [
                    {"role": "user", "content": f"What is {n % 12} and {n // 12}?"},
                    {"role": "assistant", "content": str(n % 12 + n // 12)},
                ]
            }
            for n in range(144)
        ),
    )
