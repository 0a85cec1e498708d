"""LoRA adapters (`peft`) in a model, and freezing of parameters.

Adapters are injected into the model, whose interface stays the same. They are saved apart from
the frozen weights, in peft's own format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.sections.lora_config import LoraConfig
from lmm_tui.engine.library_import import import_quietly
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.model.primitives import Linear

_NAME = "default"
"""peft's name of the one adapter."""
_PREFIX = "base_model.model."
"""Prefix of the names in an adapter file: the wrapper that peft puts around a model."""
_BASE, _LORA = ".base_layer", ".lora_"
_LM_HEAD = "lm_head"

_OUTER = ("embed_tokens", "wte", _LM_HEAD)


@dataclass(frozen=True)
class Adapter:
    """The content of peft's adapter_model.safetensors and adapter_config.json."""

    tensors: dict[str, Tensor]
    config: dict[str, Any]


def add_adapters(model: LanguageModel, config: LoraConfig, seed: int) -> None:
    """Freeze the weights and put an adapter of rank `config.rank` beside each target (arXiv
    2106.09685). ConfigError where a target matches nothing. No global generator is touched."""
    import_quietly("peft")
    import peft

    if isinstance(model, Decoder) and model.shape.tie_embeddings and _LM_HEAD in config.targets:
        # As in transformers: a module with the embedding's own parameter.
        with torch.device("meta"):
            model.lm_head = Linear(model.shape.hidden_size, model.shape.vocab_size)
        model.lm_head.weight = model.model.embed_tokens.weight
    config = fitting_targets(model, config)
    _check_targets(model, config.targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(_peft_config(config, model), model)
    head = getattr(model, _LM_HEAD, None)
    if head is not None and hasattr(head, "lora_A"):
        model.head_adapter = partial(_with_adapter, head)


def _check_targets(model: LanguageModel, targets: Sequence[str]) -> None:
    """Raise ConfigError where peft cannot put an adapter beside a target."""
    modules = dict(model.named_modules())
    fitting = {name for name, of in modules.items() if _can_be_adapted(of)}
    choices = ", ".join(sorted({name.rpartition(".")[2] for name in fitting} | {_LM_HEAD}))
    for target in targets:
        found = {name for name in modules if f".{name}".endswith(f".{target}")}
        if not found:
            raise ConfigError(
                "lora.targets: no module is called {target!r}; choose from {choices}",
                target=target,
                choices=choices,
            )
        if not found <= fitting:
            raise ConfigError(
                "lora.targets: {target!r} cannot have an adapter; choose from {choices}",
                target=target,
                choices=choices,
            )


def _can_be_adapted(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Embedding) or _is_conv1d(module)


def _is_conv1d(module: nn.Module) -> bool:
    """GPT-2's matrices, which are stored the other way round; transformers is not imported."""
    return type(module).__name__ == "Conv1D"


def fitting_targets(model: LanguageModel, config: LoraConfig) -> LoraConfig:
    """The settings with the names that this architecture has for what the default means.

    Those are all matrices of the blocks; targets that a person chose stay as they are.
    """
    if config.targets != LoraConfig().targets:
        return config
    # Also of a model that has adapters: those are none of its own modules.
    own = {
        name.removesuffix(_BASE): module
        for name, module in model.named_modules()
        if _LORA not in name
    }
    if {name.rpartition(".")[2] for name in own} >= set(config.targets):
        return config
    found = {
        name.rpartition(".")[2]
        for name, module in own.items()
        if _can_be_adapted(module)
        and not isinstance(module, nn.Embedding)
        and any(name.startswith(f"{block}.") for block in model.block_names)
    }
    return config.model_copy(update={"targets": sorted(found)})


def _with_adapter(layer: Any, hidden_BxTxD: Tensor, head_VxD: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states and head with R more columns: x W^T + s (x A^T) B^T is one product."""
    if layer.disable_adapters:
        return hidden_BxTxD, head_VxD
    a, b_VxR = layer.lora_A[_NAME], layer.lora_B[_NAME].weight
    low_BxTxR = layer.scaling[_NAME] * a(layer.lora_dropout[_NAME](hidden_BxTxD))
    return torch.cat([hidden_BxTxD, low_BxTxR], -1), torch.cat([head_VxD, b_VxR], -1)


def freeze(model: LanguageModel, patterns: Sequence[str]) -> None:
    """Freeze the parameters whose names match; ConfigError where a pattern matches none, or where
    nothing is left to train."""
    for pattern in patterns:
        matching = [p for name, p in model.named_parameters() if fnmatchcase(name, pattern)]
        if not matching:
            example = next(name for name, _ in model.named_parameters())
            raise ConfigError(
                "train.freeze: {pattern!r} matches no parameter; names look like {example}",
                pattern=pattern,
                example=example,
            )
        for parameter in matching:
            parameter.requires_grad_(False)
    if not any(p.requires_grad for p in model.parameters()):
        raise ConfigError("train.freeze: nothing is left to train; give fewer patterns")


@contextmanager
def without_adapters(model: LanguageModel) -> Iterator[None]:
    """Disable the adapters in the `with` block."""
    import_quietly("peft")
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def weights_of(model: LanguageModel) -> dict[str, Tensor]:
    """The model's weights without adapters, under the names of a model without them."""
    found = {
        name.replace(_BASE, ""): tensor
        for name, tensor in model.state_dict().items()
        if _LORA not in name
    }
    for alias in model.aliases:
        found.pop(alias, None)
    return found


def adapter_of(model: LanguageModel, config: LoraConfig) -> Adapter:
    """The adapters as peft saves them."""
    import_quietly("peft")
    import peft

    config = fitting_targets(model, config)
    state = peft.get_peft_model_state_dict(model, adapter_name=_NAME, save_embedding_layers=False)
    return Adapter(
        {_PREFIX + name: tensor for name, tensor in state.items()},
        {**_peft_config(config, model).to_dict(), "inference_mode": True},
    )


def load_adapted(model: LanguageModel, weights: Mapping[str, Tensor], adapter: Adapter) -> None:
    """Load what `weights_of` and `adapter_of` returned into a model with adapters."""
    names = {name.replace(_BASE, ""): name for name in model.state_dict() if _LORA not in name}
    state = {names[name]: tensor for name, tensor in weights.items()}
    for alias, name in model.aliases.items():
        if alias in names:
            state[names[alias]] = weights[name]
    for name, tensor in adapter.tensors.items():
        module, _, kind = name.removeprefix(_PREFIX).rpartition(_LORA)
        # lora_A.weight, but lora_embedding_A.
        matrix, dot, weight = kind.partition(".")
        state[f"{module}{_LORA}{matrix}.{_NAME}{dot}{weight}"] = tensor
    model.load_state_dict(state)


def merged(
    weights: Mapping[str, Tensor], adapter: Adapter, aliases: Mapping[str, str]
) -> dict[str, Tensor]:
    """Merge: W + alpha / rank * B @ A. ConfigError for adapters that are not plain LoRA.

    An adapter of the embedding does not change a tied head, nor one of the head the embedding:
    merged, the two are tensors of their own, and the logits stay those of the model with adapters
    (peft adds them to the one shared tensor, and warns of it).
    """
    config = adapter.config
    plain = config.get("peft_type") == "LORA" and not any(
        config.get(key) for key in ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern")
    )
    if not plain:
        raise ConfigError("the adapter is not plain LoRA; only that can be merged")
    scale = config["lora_alpha"] / config["r"]
    found = dict(weights)
    if any(f"{module}{_LORA}" in name for name in adapter.tensors for module in _OUTER):
        for alias, name in aliases.items():
            found.setdefault(alias, found[name])
    for name, a_RxI in adapter.tensors.items():
        module, _, kind = name.removeprefix(_PREFIX).rpartition(_LORA)
        if kind not in ("A.weight", "embedding_A"):
            continue
        b_OxR = adapter.tensors[name.removesuffix(kind) + kind.replace("A", "B")]
        added = scale * (b_OxR.float() @ a_RxI.float())
        own = f"{module}.weight"
        turned = kind == "embedding_A" or (config.get("fan_in_fan_out") and module != _LM_HEAD)
        found[own] = found[own] + (added.T if turned else added)
    return found


def _peft_config(config: LoraConfig, model: LanguageModel) -> Any:
    import_quietly("peft")
    import peft

    return peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=[*config.targets],
        fan_in_fan_out=any(_is_conv1d(module) for module in model.modules()),
        task_type="CAUSAL_LM",
    )


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import ModelShape

    decoder = Decoder(ModelShape(64, 32, 2, 4, 2, 8, 64))
    decoder.init_weights(0)
    add_adapters(decoder, LoraConfig(rank=4), seed=0)
    print([name for name, weight in decoder.named_parameters() if weight.requires_grad])
    print("=== 自测通过 ===")
