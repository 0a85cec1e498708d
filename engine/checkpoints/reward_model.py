"""A reward model of ours as the sequence classifier of transformers that computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.checkpoints.checked_weights import Weights
from lmm_tui.engine.checkpoints.hf_config import WeightsError, hf_config, named_ids
from lmm_tui.engine.checkpoints.weights import REWARD_HEAD

_HEADS = ("lm_head.", "embed_out.")
_OURS = "qwen3"


def as_classifier(
    weights: Weights, tokenizer: Tokenizer
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Its config.json and its tensors; WeightsError where transformers has no such classifier."""
    assert weights.reward_head is not None
    config = dict(weights.architecture or hf_config(weights.shape, tokenizer))
    config |= named_ids(tokenizer)
    config["architectures"] = [_class_name(str(config["model_type"]), weights.origin)]
    # `num_labels` is not kept by transformers: it counts these.
    config |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    tensors = {
        name: tensor for name, tensor in weights.tensors.items() if not name.startswith(_HEADS)
    }
    return config, tensors | {REWARD_HEAD: weights.reward_head.float()}


def _class_name(model_type: str, origin: Path) -> str:
    if model_type == _OURS:
        return "Qwen3ForSequenceClassification"
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as NAMES,
    )

    name = NAMES.get(model_type)
    if name is None:
        raise WeightsError(
            "{origin}: transformers has no sequence classifier of {model_type} models, as which "
            "a reward model is written; name the run itself in grpo.rewards",
            origin=origin,
            model_type=model_type,
        )
    return str(name)


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import ModelShape

    words = Tokenizer.train(["one two three"] * 9, 280)
    shape = ModelShape(words.vocab_size, 32, 2, 4, 2, 8, 64)
    demo = Weights(shape, {"a": torch.zeros(1)}, None, Path("x"), reward_head=torch.ones(1, 32))
    config, tensors = as_classifier(demo, words)
    print(config["architectures"], [*tensors])
    print("=== 自测通过 ===")
