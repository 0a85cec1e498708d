"""Matrix products of training in 8-bit floats, by torchao: input, weight and gradient are each
scaled by their largest value and rounded to e4m3 or e5m2 (arXiv 2209.05433).

Weights stay as they are, in the module and in checkpoints; only the products of a pass with
gradients are others. Validation, samples and exports know nothing of it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.fp8_conditions import refuse_fp8, refuse_sides
from lmm_tui.engine.library_import import import_quietly
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.model.primitives import Linear
from lmm_tui.message import Message

if TYPE_CHECKING:
    from lmm_tui.engine.config.run_config import RunConfig


def check_fp8(config: RunConfig, device: torch.device, precision: str, alone: bool) -> None:
    """ConfigError where `train.fp8` cannot be honoured; `alone`: whether there is one rank."""
    reason = _why_not_here(device)
    if reason is not None:
        raise ConfigError("train.fp8: {reason}; leave it out", reason=reason)
    refuse_fp8(config, precision, alone)


def use_fp8(model: LanguageModel) -> None:
    """Let the matrices of the layers compute in fp8 where gradients are asked for. ConfigError
    where their sides do not allow it. Not on CUDA it is emulated, with the same numbers."""
    if not isinstance(model, Decoder):
        raise ConfigError("train.fp8: models of transformers train without it; leave it out")
    found = {name: each for name, each in model.model.named_modules() if isinstance(each, Linear)}
    refuse_sides({name: tuple(each.weight.shape) for name, each in found.items()})
    import_quietly("torchao.float8")
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    for linear in found.values():
        emulated = linear.weight.device.type != "cuda"
        # The number of tokens may be any; products over them are padded.
        options = Float8LinearConfig(emulate=emulated, pad_inner_dim=True)
        converted = convert_to_float8_training(linear, config=options)
        linear.in_fp8 = converted.forward


def can_multiply(device: torch.device) -> bool:
    """Whether the device has units for fp8: from Ada and Hopper on."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)


def _why_not_here(device: torch.device) -> str | None:
    if not can_multiply(device):
        return Message(
            "{device} has no units for it, CUDA GPUs from compute capability 8.9 on have",
            device=device,
        )
    if find_spec("torchao") is None:
        return Message("the package torchao is missing; pip install 'lmm-tui[fp8]'")
    return None


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import ModelShape

    tiny = Decoder(ModelShape(64, 32, 2, 2, 2, 16, 64))
    tiny.init_weights(0)
    ids = torch.randint(64, (2, 16))
    exact = tiny.read(ids)
    if find_spec("torchao") is not None:
        use_fp8(tiny)
        print((tiny.read(ids) - exact).norm() / exact.norm())
        assert list(tiny.state_dict()) == list(Decoder(tiny.shape).state_dict())
    print("=== 自测通过 ===")
