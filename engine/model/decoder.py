"""The decoder: Qwen3's architecture, weight for weight.

RMSNorm, rotary positions, grouped-query attention with per-head QK-norm, SwiGLU, tied or untied
embeddings. Callers choose device and precision (autocast). Dimensions in names: B batch, T new
positions, S cached and new positions, D hidden, H query heads, K key/value heads, C head width,
F MLP width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.device import compute_dtype, residual_dtype
from lmm_tui.engine.model.kv_cache import KVCache
from lmm_tui.engine.model.language_model import Cache, LanguageModel
from lmm_tui.engine.model.layout import Segments
from lmm_tui.engine.model.primitives import Linear, RMSNorm
from lmm_tui.engine.model.self_attention import Attention, Mask, rotary_tables, segment_mask

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_INTO_RESIDUAL = ("o_proj.weight", "down_proj.weight")


class MLP(nn.Module):
    """SwiGLU (arXiv 2002.05202)."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.gate_proj = Linear(shape.hidden_size, shape.intermediate_size)
        self.up_proj = Linear(shape.hidden_size, shape.intermediate_size)
        self.down_proj = Linear(shape.intermediate_size, shape.hidden_size)

    def forward(self, x_BxTxD: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x_BxTxD)) * self.up_proj(x_BxTxD))


class Layer(nn.Module):
    compiled: Callable[..., Tensor] | None = None
    """`compute`, compiled. Not the module: hooks on it stay outside of the graph."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.rms_eps)
        self.self_attn = Attention(shape, layer)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.rms_eps)
        self.mlp = MLP(shape)

    def forward(
        self,
        x_BxTxD: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Mask,
        cache: KVCache | None,
        compiled: bool = False,
    ) -> Tensor:
        run = self.compiled if compiled and self.compiled is not None else self.compute
        return run(x_BxTxD, cos, sin, mask, cache)

    def compute(
        self, x_BxTxD: Tensor, cos: Tensor, sin: Tensor, mask: Mask, cache: KVCache | None
    ) -> Tensor:
        x_BxTxD = x_BxTxD + self.self_attn(self.input_layernorm(x_BxTxD), cos, sin, mask, cache)
        return x_BxTxD + self.mlp(self.post_attention_layernorm(x_BxTxD))


class Backbone(nn.Module):
    """From token ids to the last hidden states."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        embedding = torch.empty(shape.vocab_size, shape.hidden_size)
        self.embed_tokens = nn.Embedding.from_pretrained(embedding, freeze=False)
        self.layers = nn.ModuleList(Layer(shape, layer) for layer in range(shape.num_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.rms_eps)
        cos, sin = rotary_tables(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.compiled = False
        self.recompute = False
        """Whether activations inside of a layer are computed again in the backward pass."""

    def forward(
        self,
        ids_BxT: Tensor,
        positions: Tensor | None = None,
        cache: KVCache | None = None,
        segments: Segments | None = None,
        eager: bool = False,
    ) -> Tensor:
        """With `eager` nothing is compiled."""
        kind = ids_BxT.device.type
        dtype = residual_dtype(ids_BxT.device)
        # Autocast would keep the residual stream in fp32 and cast it for each product anew.
        with nullcontext() if dtype is None else torch.autocast(kind, enabled=False):
            return self._hidden(ids_BxT, positions, cache, segments, eager, dtype)

    def _hidden(
        self,
        ids_BxT: Tensor,
        positions: Tensor | None,
        cache: KVCache | None,
        segments: Segments | None,
        eager: bool,
        dtype: torch.dtype | None,
    ) -> Tensor:
        new = ids_BxT.shape[1]
        compiled = self.compiled and not eager
        where = slice(new) if cache is None else cache.positions(new)
        mask: Mask = None if cache is None else cache.mask(new)
        if positions is not None:
            where = positions
        if segments is not None:
            mask = segment_mask(segments, dtype, compiled)
        cos, sin = self.cos[where].unsqueeze(-2), self.sin[where].unsqueeze(-2)
        x_BxTxD = self.embed_tokens(ids_BxT)
        if dtype is not None:
            x_BxTxD = x_BxTxD.to(dtype)
        again = self.recompute and torch.is_grad_enabled()
        for layer in self.layers:
            about = (x_BxTxD, cos, sin, mask, cache, compiled)
            x_BxTxD = checkpoint(layer, *about, use_reentrant=False) if again else layer(*about)
        if cache is not None:
            cache.advance(new)
        return self.norm(x_BxTxD)


class Decoder(LanguageModel):
    """A causal language model whose state dict is that of transformers' Qwen3ForCausalLM.

    Tied, it has no `lm_head.weight` of its own: a state dict may bring one that equals the
    embedding, and does not get one back. Weights are uninitialised until `init_weights` or
    `load_state_dict`.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Backbone(shape)
        if not shape.tie_embeddings:
            self.lm_head = Linear(shape.hidden_size, shape.vocab_size)
        self.block_names = [f"model.layers.{layer}" for layer in range(shape.num_layers)]
        self.aliases = {HEAD: EMBEDDING} if shape.tie_embeddings else {}
        self.register_load_state_dict_pre_hook(_drop_tied_head)

    @property
    def embedding_module(self) -> nn.Module:
        return self.model.embed_tokens

    @property
    def head_weight(self) -> Tensor:
        return self.model.embed_tokens.weight if self.shape.tie_embeddings else self.lm_head.weight

    def read(
        self,
        ids_BxT: Tensor,
        positions: Tensor | None = None,
        cache: Cache | None = None,
        segments: Segments | None = None,
    ) -> Tensor:
        assert cache is None or isinstance(cache, KVCache)
        hidden_BxTxD: Tensor = self.model(ids_BxT, positions, cache, segments, eager=True)
        return hidden_BxTxD

    def _backbone(
        self,
        ids_BxT: Tensor,
        positions: Tensor | None,
        cache: Cache | None,
        segments: Segments | None,
    ) -> Tensor:
        hidden_BxTxD: Tensor = self.model(ids_BxT, positions, cache, segments)
        return hidden_BxTxD

    def new_cache(
        self, batch: int, capacity: int, device: torch.device, starts_B: Tensor | None = None
    ) -> KVCache:
        dtype = compute_dtype(device) or self.head_weight.dtype
        return KVCache(self.shape, batch, capacity, device, starts_B, dtype)

    def compile_backbone(self) -> None:
        import torch._dynamo.config as dynamo

        # Shapes, masks, with and without gradients: each is a graph, and beyond the limit of eight
        # a whole graph is refused. Other shapes than the first become one graph for any shape.
        dynamo.recompile_limit = max(dynamo.recompile_limit, 64)
        self.model.compiled = True
        for layer in self.model.layers:
            assert isinstance(layer, Layer)
            layer.compiled = torch.compile(layer.compute, fullgraph=True)

    def recompute_activations(self) -> None:
        self.model.recompute = True

    def blank(self) -> Decoder:
        return Decoder(self.shape)

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        """Set gains to one and matrices to normal numbers of deviation 0.02, divided by
        sqrt(2 * layers) for those that write into the residual stream, as in GPT-2.

        The same on every device, and no global generator is touched.
        """
        generator = torch.Generator().manual_seed(seed)
        into_residual = 0.02 / math.sqrt(2 * self.shape.num_layers)
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                parameter.fill_(1.0)
                continue
            deviation = into_residual if name.endswith(_INTO_RESIDUAL) else 0.02
            parameter.copy_(torch.empty(parameter.shape).normal_(0, deviation, generator=generator))


def _drop_tied_head(model: Decoder, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
    """Let strict loading of a tied model accept a head that equals the embedding."""
    if not model.shape.tie_embeddings or f"{prefix}{HEAD}" not in state:
        return
    embedding = state.get(f"{prefix}{EMBEDDING}")
    if embedding is not None and torch.equal(state[f"{prefix}{HEAD}"], embedding):
        del state[f"{prefix}{HEAD}"]


if __name__ == "__main__":
    tiny = ModelShape(64, 32, 2, 4, 2, 8, 64, max_positions=32)
    decoder = Decoder(tiny)
    decoder.init_weights(0)
    print(tiny.parameters, "parameters, logits", decoder(torch.randint(64, (2, 12))).shape)
    assert sum(p.numel() for p in decoder.parameters()) == tiny.parameters
    print("=== 自测通过 ===")
