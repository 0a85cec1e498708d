"""Attention for models of transformers, registered there as `lmm`: packed sequences kept apart.

Outside packed rows it is transformers' own SDPA. Sliding windows and capped scores (Gemma 2) are
honoured in both. Dimensions in names are those of `engine.model.decoder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NAME = "lmm"


class UnknownAttention(RuntimeError):
    """A model gives its attention something that ours does not know, such as sinks."""


@dataclass(frozen=True)
class Packing:
    """Which tokens belong together: lengths, one sequence after the other, or a number each."""

    lengths: list[int] | None = None
    """Of the sequences in the one row that all rows were joined to."""
    segments_BxT: Tensor | None = None


def attention(
    module: nn.Module,
    query_BxHxTxC: Tensor,
    key_BxKxSxC: Tensor,
    value_BxKxSxC: Tensor,
    attention_mask: Tensor | None,
    *,
    packing: Packing | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """What transformers calls in each layer; returns (B, T, H, C)."""
    if unknown := [name for name in ("s_aux", "position_bias") if rest.get(name) is not None]:
        raise UnknownAttention(f"attention with {unknown[0]}")
    if packing is None and softcap is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        found: tuple[Tensor, None] = sdpa_attention_forward(
            module,
            query_BxHxTxC,
            key_BxKxSxC,
            value_BxKxSxC,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            **rest,
        )
        return found
    options: dict[str, Any] = {"scaling": scaling, "dropout": dropout, "softcap": softcap}
    if packing is None:
        mask = attention_mask
        if mask is None:
            mask = _window(query_BxHxTxC.shape[2], key_BxKxSxC.shape[2], None, query_BxHxTxC.device)
        y_BxHxTxC = _attend(query_BxHxTxC, key_BxKxSxC, value_BxKxSxC, mask, **options)
    elif packing.lengths is not None:
        parts = zip(
            *(x.split(packing.lengths, 2) for x in (query_BxHxTxC, key_BxKxSxC, value_BxKxSxC)),
            strict=True,
        )
        y_BxHxTxC = torch.cat(
            [_attend(q, k, v, _causal(q, sliding_window, softcap), **options) for q, k, v in parts],
            dim=2,
        )
    else:
        assert packing.segments_BxT is not None
        segments_BxT, length = packing.segments_BxT, query_BxHxTxC.shape[2]
        same_BxTxT = segments_BxT.unsqueeze(2) == segments_BxT.unsqueeze(1)
        near = _window(length, length, sliding_window, segments_BxT.device)
        mask = same_BxTxT.unsqueeze(1) & near
        y_BxHxTxC = _attend(query_BxHxTxC, key_BxKxSxC, value_BxKxSxC, mask, **options)
    return y_BxHxTxC.transpose(1, 2).contiguous(), None


def _causal(q: Tensor, window: int | None, softcap: float | None) -> Tensor | None:
    length = q.shape[2]
    if softcap is None and (window is None or length <= window):
        return None
    return _window(length, length, window, q.device)


def _window(new: int, seen: int, window: int | None, device: torch.device) -> Tensor:
    """Which of `seen` positions each of the last `new` attends to, (1, 1, T, S)."""
    mask_TxS = torch.ones(new, seen, dtype=torch.bool, device=device).tril(seen - new)
    if window is not None:
        mask_TxS = mask_TxS.triu(seen - new - window + 1)
    return mask_TxS[None, None]


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    dropout: float,
    softcap: float | None,
) -> Tensor:
    """With None as mask each token attends to all up to its own."""
    if softcap is None:
        return F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=dropout,
            is_causal=mask is None and q.shape[2] > 1,
            scale=scaling,
            enable_gqa=q.shape[1] != k.shape[1],
        )
    assert mask is not None
    groups = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(groups, 1) for x in (k, v))
    scores = q @ k.transpose(2, 3) * (q.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = softcap * torch.tanh(scores / softcap)
    if mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    else:
        scores = scores + mask
    p = scores.softmax(-1, dtype=torch.float32).to(q.dtype)
    return F.dropout(p, dropout) @ v


def register() -> None:
    """Make the attention known to transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


if __name__ == "__main__":
    segments_BxT = torch.tensor([[1, 1, 2, 2, 2, 3], [1, 1, 1, 1, 2, 2]])
    q, k, v = torch.randn(3, 2, 4, 6, 8)
    joined = [x.transpose(0, 1).flatten(1, 2).unsqueeze(0) for x in (q, k, v)]
    lengths = [2, 3, 1, 4, 2]
    for window, softcap in ((None, None), (2, None), (2, 30.0)):
        about: dict[str, Any] = {"sliding_window": window, "softcap": softcap}
        by_mask, _ = attention(
            nn.Module(), q, k, v, None, packing=Packing(None, segments_BxT), **about
        )
        q1, k1, v1 = joined
        by_length, _ = attention(nn.Module(), q1, k1, v1, None, packing=Packing(lengths), **about)
        difference = (by_mask.flatten(0, 1) - by_length[0]).abs().max().item()
        print(window, softcap, f"{difference:.1e}")
        assert difference < 1e-6
    print("=== 自测通过 ===")
