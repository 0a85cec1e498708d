"""Deep probe: statistics of the attention, residual stream and MLP of each layer.

Attaches from outside to any PyTorch model with numbered blocks, by forward hooks that exist only
inside `watching()`. It copies a sample of rows; the pass stays bit-identical. The cost of each part
is measured by `python -m benchmarks deep_probes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lmm_tui.metrics.deep.activations import (
    dead_share,
    effective_rank,
    rms_and_outlier,
    sample_rows,
)
from lmm_tui.metrics.deep.attention import AttentionWatch
from lmm_tui.metrics.layers import group_by_layer, strip_wrappers
from lmm_tui.metrics.names import DEEP

PARTS: dict[str, tuple[str, ...]] = {
    "attention": ("attn_logit_max", "attn_entropy"),
    "activations": ("act_rms", "act_outlier"),
    "mlp": ("dead_units",),
    "rank": ("effective_rank",),
}
"""The parts that can be probed, and the numbers of each layer that they give."""

_MAX_ROWS = 512
_MLP = re.compile(r"(^|\.)(mlp|ffn|feed_forward|ff|fc2|linear2)(\.|$)")


class DeepProbe:
    """Reads one forward pass: `with probe.watching(): model(ids)`, then `probe.read()`."""

    def __init__(self, model: nn.Module, parts: Collection[str] = tuple(PARTS)) -> None:
        """`parts` are keys of PARTS. A layer without an MLP, or whose attention does not call
        `scaled_dot_product_attention`, has fewer numbers."""
        self._parts = frozenset(parts)
        self._blocks = blocks_of(model)
        found = {label: _down_projection(block) for label, block in self._blocks.items()}
        self._mlps = {label: down for label, down in found.items() if down is not None}
        self._inside: str | None = None
        """The block whose forward is running: attention calls are counted for it."""
        self._found: dict[str, Tensor] = {}

    @property
    def layers(self) -> tuple[str, ...]:
        """Short names of the blocks, as used in keys: `layers.3`."""
        return tuple(self._blocks)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Capture the pass inside; of several passes through a layer, the first."""
        self._found, self._inside = {}, None
        with ExitStack() as stack:
            for label, block in self._blocks.items():
                enter = block.register_forward_pre_hook(self._enter_hook(label))
                stack.callback(enter.remove)
                stack.callback(block.register_forward_hook(self._leave_hook(label)).remove)
            for label, down in self._mlps.items() if "mlp" in self._parts else ():
                stack.callback(down.register_forward_pre_hook(self._units_hook(label)).remove)
            if "attention" in self._parts:
                stack.enter_context(AttentionWatch(self._keep_attention))
            yield

    def read(self) -> dict[str, float]:
        """The numbers of the captured pass by name, `deep/act_rms/layers.3`; one device copy."""
        found, self._found = self._found, {}
        if not found:
            return {}
        return dict(zip(found, torch.stack([*found.values()]).tolist(), strict=True))

    def _enter_hook(self, label: str) -> Callable[..., None]:
        def enter(module: nn.Module, args: object) -> None:
            self._inside = label

        return enter

    def _leave_hook(self, label: str) -> Callable[..., None]:
        @torch.no_grad()
        def leave(module: nn.Module, args: object, output: Any) -> None:
            self._inside = None
            hidden = output[0] if isinstance(output, tuple | list) and output else output
            if not isinstance(hidden, Tensor) or hidden.dim() < 2:
                return
            h_NxD = sample_rows(hidden, _MAX_ROWS).float()
            if "activations" in self._parts:
                self._keep(label, "activations", rms_and_outlier(h_NxD))
            if "rank" in self._parts:
                self._keep_rank(label, h_NxD)

        return leave

    def _keep_rank(self, label: str, h_NxD: Tensor) -> None:
        # torch raises for the decomposition of a non-finite matrix.
        finite = torch.nan_to_num(h_NxD, nan=0.0, posinf=0.0, neginf=0.0)
        with torch.autocast(h_NxD.device.type, enabled=False):
            self._keep(label, "rank", effective_rank(sample_rows(finite, 128)))

    def _units_hook(self, label: str) -> Callable[..., None]:
        @torch.no_grad()
        def read_units(module: nn.Module, args: tuple[Any, ...]) -> None:
            if args and isinstance(args[0], Tensor):
                self._keep(label, "mlp", dead_share(sample_rows(args[0], _MAX_ROWS)))

        return read_units

    def _keep_attention(self, numbers_2: Tensor) -> None:
        if self._inside is not None:
            self._keep(self._inside, "attention", numbers_2)

    def _keep(self, label: str, part: str, numbers: Tensor) -> None:
        for name, number in zip(PARTS[part], numbers.reshape(-1), strict=True):
            self._found.setdefault(f"{DEEP}{name}/{label}", number)


def blocks_of(model: nn.Module) -> dict[str, nn.Module]:
    """The outermost numbered blocks of a model by short name, in order."""
    modules = {strip_wrappers(name): module for name, module in model.named_modules() if name}
    numbered = [name for name in modules if name.rpartition(".")[2].isdigit()]
    found: dict[str, nn.Module] = {}
    for name, label in group_by_layer(numbered).items():
        found.setdefault(label, modules[name])
    return found


def _down_projection(block: nn.Module) -> nn.Module | None:
    """The last linear layer of a block's MLP; its inputs are the MLP's units."""
    matrices = [
        module
        for name, module in block.named_modules()
        if _MLP.search(name) and isinstance(module, nn.Linear)
    ]
    narrowing = [one for one in matrices if one.in_features > one.out_features]
    return narrowing[-1] if narrowing else None


if __name__ == "__main__":
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    probe = DeepProbe(encoder)
    with probe.watching():
        encoder(torch.randn(2, 8, 16))
    print(probe.read())
    print("=== 自测通过 ===")
