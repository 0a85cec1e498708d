"""What our contract needs to know of a model of transformers: built, and looked at by its parts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from lmm_tui.engine.library_import import import_quietly


def hf_of(config: Any, seed: int | None) -> Any:
    """Of a configuration; weights are drawn with `seed`, without it they are uninitialised."""
    import_quietly("transformers.modeling_utils")
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    make = partial(
        AutoModelForCausalLM.from_config,
        config,
        dtype=torch.float32,
        attn_implementation="eager",
        trust_remote_code=False,
    )
    if seed is None:
        with no_init_weights():
            hf = make()
            hf.tie_weights()
            return hf
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def aliases_of(hf: Any) -> Mapping[str, str]:
    """Second name of a tied parameter -> its first."""
    first: dict[int, str] = {}
    found: dict[str, str] = {}
    for name, parameter in hf.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            found[name] = first[id(parameter)]
        first.setdefault(id(parameter), name)
    return found


def block_names_of(hf: Any, layers: int) -> list[str]:
    """Names of its `layers` blocks; empty where no list of modules has that length."""
    lists = [
        name
        for name, module in hf.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == layers and "vision" not in name
    ]
    if not lists:
        return []
    return [f"{min(lists, key=len)}.{layer}" for layer in range(layers)]


def logit_factor(config: Any) -> float:
    """Cohere multiplies its logits, Granite divides them."""
    return float(getattr(config, "logit_scale", None) or 1) / float(
        getattr(config, "logits_scaling", None) or 1
    )


if __name__ == "__main__":
    from transformers import GPT2Config

    tiny = GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    demo = hf_of(tiny, seed=0)
    print(aliases_of(demo), block_names_of(demo, 2), logit_factor(tiny))
    assert block_names_of(demo, 2) == ["transformer.h.0", "transformer.h.1"]
    print("=== 自测通过 ===")
