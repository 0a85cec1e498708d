"""The optimisers of a run: AdamW with two decay groups, or Muon for hidden matrices and AdamW.

Matrices decay, including the embedding, which is the head as well where the two are tied; gains
of norms do not. Each group has `initial_lr`, the peak that the factor of the schedule
(`engine.training.schedule`) is multiplied with.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lmm_tui.engine.device import fused_step_can_skip
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.training.adamw_8bit import AdamW8bit
from lmm_tui.engine.training.mps_adamw import SkippableAdamW
from lmm_tui.engine.training.muon import StackedMuon

if TYPE_CHECKING:
    from lmm_tui.engine.config.sections.optim_config import OptimConfig


_OUTER = ("lm_head", "embed_out", "score")


def build_optimizers(
    model: LanguageModel, config: OptimConfig, peak_lr: float
) -> list[torch.optim.Optimizer]:
    """AdamW alone, or Muon (arXiv 2502.16982) for the hidden matrices and AdamW for the rest.

    AdamW's groups start from `peak_lr`, Muon's from `config.muon_lr`. Frozen parameters are left
    out. Each takes `found_inf`, as `engine.training.non_finite` sets it.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    hidden = _hidden_matrices(model, trained) if config.name == "muon" else []
    optimizers: list[torch.optim.Optimizer] = []
    if hidden:
        optimizers.append(
            StackedMuon(
                hidden,
                lr=config.muon_lr,
                weight_decay=config.weight_decay,
                compute=config.muon_precision,
            )
        )
    taken = {id(parameter) for parameter in hidden}
    rest = [parameter for parameter in trained if id(parameter) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    betas = config.beta1, config.beta2
    if config.state_dtype == "8bit":
        optimizers.append(AdamW8bit(groups, lr=peak_lr, betas=betas, eps=config.eps))
    else:
        has_skip = fused_step_can_skip(model.head_weight.device)
        kind = torch.optim.AdamW if has_skip else SkippableAdamW
        optimizers.append(kind(groups, lr=peak_lr, betas=betas, eps=config.eps, fused=True))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def hyper_parameters(
    model: LanguageModel, config: OptimConfig, peak_lr: float
) -> list[dict[str, Any]]:
    """The hyper-parameters of each group of `build_optimizers`, in order."""
    return [
        {name: value for name, value in group.items() if name != "params"}
        for optimizer in build_optimizers(model, config, peak_lr)
        for group in optimizer.param_groups
    ]


def _hidden_matrices(model: LanguageModel, trained: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """The matrices between embeddings and head; those have adapters of their own."""
    outer = {
        id(parameter)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) or name.partition(".")[0] in _OUTER
        for parameter in module.parameters()
    }
    outer |= {id(p) for p in model.embedding_module.parameters()} | {id(model.head_weight)}
    return [p for p in trained if p.ndim == 2 and id(p) not in outer]


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.config.sections.optim_config import OptimConfig
    from lmm_tui.engine.model.decoder import Decoder

    tiny = Decoder(ModelShape(64, 32, 2, 4, 2, 8, 64))
    for optimizer in build_optimizers(tiny, OptimConfig(name="muon"), peak_lr=1e-3):
        print(type(optimizer).__name__, [len(group["params"]) for group in optimizer.param_groups])
    print("=== 自测通过 ===")
