"""How sharply attention looks: the largest attention logit, and the entropy of its weights.

Reads queries and keys as any model hands them to `scaled_dot_product_attention`, so nothing has
to be changed in it; attention that is computed otherwise is not seen. Costs about 1 % of a
training step when it is looked at, nothing otherwise; a sample of the queries stands for all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_MAX_QUERIES = 64


class AttentionWatch(TorchFunctionMode):
    """While entered, hands `see` each call's sampled numbers: (2,), as `attention_numbers` does.

    They stay on the device. Calls whose keys are not (batch, heads, keys, width) are passed over.
    """

    def __init__(self, see: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._see = see

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self._look(*args, **kwargs)
        return func(*args, **kwargs)

    @torch.no_grad()
    def _look(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> None:
        if query.dim() != 4 or key.dim() != 4:
            return
        # One text of the batch stands for all: it has every head, and as many keys as any.
        mask = None if attn_mask is None else attn_mask[(0,) * (attn_mask.dim() - 2)]
        with torch.autocast(query.device.type, enabled=False):
            self._see(attention_numbers(query[0], key[0], mask, causal=is_causal, scale=scale))


def attention_numbers(
    q_HxTxC: Tensor,
    k_KxSxC: Tensor,
    mask_TxS: Tensor | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """(2,): the largest logit q·k·scale, and the mean entropy of the weights, in nats.

    Over all heads and up to 64 queries, evenly spread, the last included. A logit that grows into
    the hundreds is how a too large learning rate shows before the loss does (arXiv 2309.14322);
    entropy goes from ln(keys), uniform, to 0. `mask_TxS` is true where a query may look, or is
    added to the logits. With fewer key than query heads, neighbouring queries share keys.
    """
    queries, keys = q_HxTxC.shape[1], k_KxSxC.shape[1]
    count = min(queries, _MAX_QUERIES)
    rows_N = torch.linspace(0, queries - 1, count, device=q_HxTxC.device).round().long()
    if count == 1:
        rows_N = rows_N.new_full((1,), queries - 1)
    shared = q_HxTxC.shape[0] // k_KxSxC.shape[0]
    k_HxSxC = k_KxSxC.float().repeat_interleave(shared, 0)
    scale = 1 / math.sqrt(q_HxTxC.shape[-1]) if scale is None else scale
    logits_HxNxS = q_HxTxC[:, rows_N].float() @ k_HxSxC.transpose(1, 2) * scale
    if mask_TxS is not None:
        mask_NxS = mask_TxS.expand(queries, keys)[rows_N]
        if mask_NxS.dtype == torch.bool:
            logits_HxNxS = logits_HxNxS.masked_fill(~mask_NxS, -math.inf)
        else:
            logits_HxNxS = logits_HxNxS + mask_NxS.float()
    if causal:
        later_NxS = torch.arange(keys, device=rows_N.device) > rows_N[:, None]
        logits_HxNxS = logits_HxNxS.masked_fill(later_NxS, -math.inf)
    entropy = torch.special.entr(logits_HxNxS.softmax(-1)).sum(-1).mean()
    return torch.stack([logits_HxNxS.amax(), entropy])


if __name__ == "__main__":
    found: list[Tensor] = []
    x = torch.randn(1, 2, 8, 4, generator=torch.Generator().manual_seed(0))
    with AttentionWatch(found.append):
        F.scaled_dot_product_attention(x * 0, x, x)
    print("largest logit, entropy:", found[0].tolist())
    assert math.isclose(float(found[0][1]), math.log(8), rel_tol=1e-5)
    print("=== 自测通过 ===")
