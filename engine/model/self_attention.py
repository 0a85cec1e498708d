"""Grouped-query attention with rotary positions, QK-norm and packed sequences.

Dimensions in names are those of `engine.model.decoder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.model.kv_cache import KVCache, SharedPrompts
from lmm_tui.engine.model.layout import Segments
from lmm_tui.engine.model.primitives import Linear, RMSNorm
from lmm_tui.metrics.deep.attention import is_attention_watched, report_attention

_PARTS = 4
_PART = 64  # Queries that torch's kernel for CPUs takes at once.


def rotary_tables(shape: ModelShape) -> tuple[Tensor, Tensor]:
    """cos and sin of position * theta^(-2i/C), each (positions, C / 2), fp32 (arXiv 2104.09864)."""
    # On the CPU even for a model on `meta`: there arange imports all of torch._dynamo, 1.7 s.
    with torch.device("cpu"):
        exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
        positions = torch.arange(shape.max_positions, dtype=torch.float32)
    angles = torch.outer(positions, 1.0 / shape.rope_theta**exponents)
    return angles.cos(), angles.sin()


def rotate(x_BxTxHxC: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair (i, i + C/2) by the angle of its position; cos, sin are (..., T, 1, C/2)."""
    first, second = x_BxTxHxC.chunk(2, dim=-1)
    rotated = (first * cos - second * sin, second * cos + first * sin)
    return torch.cat(rotated, dim=-1).to(x_BxTxHxC.dtype)


@dataclass(frozen=True)
class Bounds:
    """Packed sequences for the attention of variable lengths."""

    starts: Tensor
    """`Segments.bounds`."""
    first: int
    """Length of the first sequence."""


Mask = Tensor | Bounds | list[int] | None
"""What tokens attend to: a boolean tensor, (1 or B, 1, T, S); bounds, or the lengths, of the
sequences that the rows hold one after the other; or None for all tokens up to their own."""


class Attention(nn.Module):
    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = shape.head_dim
        queries, keys = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
        self.q_proj = Linear(shape.hidden_size, queries)
        self.k_proj = Linear(shape.hidden_size, keys)
        self.v_proj = Linear(shape.hidden_size, keys)
        self.o_proj = Linear(queries, shape.hidden_size)
        self.q_norm = RMSNorm(shape.head_dim, shape.rms_eps)
        self.k_norm = RMSNorm(shape.head_dim, shape.rms_eps)

    def forward(
        self, x_BxTxD: Tensor, cos: Tensor, sin: Tensor, mask: Mask, cache: KVCache | None
    ) -> Tensor:
        heads = (*x_BxTxD.shape[:2], -1, self.head_dim)
        q_BxTxHxC = rotate(self.q_norm(self.q_proj(x_BxTxD).view(heads)), cos, sin)
        k_BxTxKxC = rotate(self.k_norm(self.k_proj(x_BxTxD).view(heads)), cos, sin)
        q, k = q_BxTxHxC.transpose(1, 2), k_BxTxKxC.transpose(1, 2)
        v = self.v_proj(x_BxTxD).view(heads).transpose(1, 2)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)
        if isinstance(mask, Bounds):
            y_BxTxHxC = _attend_within_bounds(q, k, v, mask)
        elif isinstance(mask, list):
            y_BxTxHxC = _attend_per_sequence(q, k, v, mask).transpose(1, 2)
        elif cache is not None and cache.prompts is not None:
            y_BxTxHxC = _attend_after_prompts(q, k, v, mask, cache.prompts, self.layer)
        elif cache is None and mask is None and _pays_in_parts(q):
            y_BxTxHxC = _attend_in_parts(q, k, v).transpose(1, 2)
        else:
            y_BxTxHxC = _attend(q, k, v, mask).transpose(1, 2)
        return self.o_proj(y_BxTxHxC.flatten(2))


def _attend(q_BxHxTxC: Tensor, k_BxKxSxC: Tensor, v_BxKxSxC: Tensor, mask: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(
        q_BxHxTxC,
        k_BxKxSxC,
        v_BxKxSxC,
        attn_mask=mask,
        is_causal=mask is None and q_BxHxTxC.shape[2] > 1,
        enable_gqa=q_BxHxTxC.shape[1] != k_BxKxSxC.shape[1],
    )


def _pays_in_parts(q: Tensor) -> bool:
    """Not in eager steps: parts add gradients up in another order."""
    return torch.compiler.is_compiling() and q.is_cpu and q.shape[2] >= _PARTS * _PART


def _attend_in_parts(q_BxHxTxC: Tensor, k_BxKxTxC: Tensor, v_BxKxTxC: Tensor) -> Tensor:
    """Attend to all tokens up to their own; each quarter of the tokens reads those up to its end.

    Torch's kernel for CPUs computes what is masked in up to 512 keys and throws it away.
    """
    length = q_BxHxTxC.shape[2]
    ends = [length * part // _PARTS for part in range(_PARTS + 1)]
    of_keys_T = torch.arange(length)
    return torch.cat(
        [
            _attend(
                q_BxHxTxC[:, :, start:end],
                k_BxKxTxC[:, :, :end],
                v_BxKxTxC[:, :, :end],
                of_keys_T[:end] <= of_keys_T[start:end].unsqueeze(1) if start else None,
            )
            for start, end in pairwise(ends)
        ],
        dim=2,
    )


def _attend_after_prompts(
    q_MxHx1xC: Tensor,
    k_MxKxSxC: Tensor,
    v_MxKxSxC: Tensor,
    mask: Tensor | None,
    prompts: SharedPrompts,
    layer: int,
) -> Tensor:
    """Attend to a prompt and to the row's own tokens; (M, 1, H, C).

    Reading keys and values is what a token costs here: those of a prompt are read once for all of
    its rows. With 8 rows each and prompts of 150 tokens it takes 0.23 of the time on a CPU.
    """
    heads = k_MxKxSxC.shape[1]
    q_MxKxGxC = q_MxHx1xC.squeeze(2).unflatten(1, (heads, -1)) * q_MxHx1xC.shape[-1] ** -0.5
    own_MxKxGxS = q_MxKxGxC @ k_MxKxSxC.transpose(2, 3)
    if mask is not None:
        own_MxKxGxS = own_MxKxGxS.masked_fill(~mask, -torch.inf)
    prompt_MxKxGxS = prompts.product(q_MxKxGxC, prompts.keys[layer].transpose(2, 3), scores=True)
    split = [prompt_MxKxGxS.shape[-1], own_MxKxGxS.shape[-1]]
    scores = torch.cat([prompt_MxKxGxS, own_MxKxGxS], dim=-1)
    prompt, own = scores.softmax(-1, dtype=torch.float32).to(scores.dtype).split(split, dim=-1)
    y_MxKxGxC = own @ v_MxKxSxC + prompts.product(prompt, prompts.values[layer])
    return y_MxKxGxC.flatten(1, 2).unsqueeze(1)


def _attend_per_sequence(q: Tensor, k: Tensor, v: Tensor, lengths: list[int]) -> Tensor:
    """Attend within each sequence separately, so that nothing is computed only to be masked."""
    # (B, H, T, C) in one row, (1, H, B * T, C), without a copy.
    rows = (x.transpose(0, 1).flatten(1, 2).unsqueeze(0) for x in (q, k, v))
    sequences = zip(*(row.split(lengths, dim=2) for row in rows), strict=True)
    joined = torch.cat([_attend(q1, k1, v1, None) for q1, k1, v1 in sequences], dim=2)
    return joined.squeeze(0).unflatten(1, (len(q), -1)).transpose(0, 1)


def _attend_within_bounds(q: Tensor, k: Tensor, v: Tensor, bounds: Bounds) -> Tensor:
    """(B, T, H, C), by the flash kernel for sequences of any length, which takes no mask."""
    from torch.nn.attention.varlen import varlen_attn

    if is_attention_watched():
        report_attention(q[0, :, : bounds.first], k[0, :, : bounds.first])
    rows, length = q.shape[0], q.shape[2]
    q_NxHxC, k_NxKxC, v_NxKxC = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))
    # No sequence is longer than a row; the longest one's length would be another number each time.
    y_NxHxC = varlen_attn(
        q_NxHxC,
        k_NxKxC,
        v_NxKxC,
        bounds.starts,
        bounds.starts,
        length,
        length,
        window_size=(-1, 0),
        enable_gqa=q.shape[1] != k.shape[1],
    )
    assert isinstance(y_NxHxC, Tensor)
    return y_NxHxC.unflatten(0, (rows, length))


def segment_mask(segments: Segments, dtype: torch.dtype | None, compiled: bool) -> Mask:
    """Attend to earlier tokens of the same segment.

    On a CPU by lengths: four packed rows of 768 take 50 ms, with a mask 135; compiled, other
    lengths would be another graph. On CUDA by bounds where activations are of `dtype` bf16, which
    the kernel needs.
    """
    if segments.bounds is not None and dtype == torch.bfloat16:
        return Bounds(segments.bounds, segments.lengths[0][0])
    if segments.numbers_BxT.is_cpu and not compiled:
        return segments.flat
    return _same_segment(segments.numbers_BxT)


def _same_segment(segments_BxT: Tensor) -> Tensor:
    same_BxTxT = segments_BxT.unsqueeze(2) == segments_BxT.unsqueeze(1)
    return same_BxTxT.tril().unsqueeze(1)


if __name__ == "__main__":
    segments_BxT = torch.tensor([[1, 1, 2, 2, 2, 3], [1, 1, 1, 1, 2, 2]])
    q, k, v = torch.randn(3, 2, 4, 6, 8)
    with_mask = _attend(q, k, v, _same_segment(segments_BxT))
    lengths = Segments.of(segments_BxT).flat
    with_lengths = _attend_per_sequence(q, k, v, lengths)
    print(lengths, (with_mask - with_lengths).abs().max().item())
    assert torch.allclose(with_mask, with_lengths, atol=1e-6)
    print("=== 自测通过 ===")
