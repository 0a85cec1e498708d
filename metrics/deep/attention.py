"""Attention statistics: the largest attention logit, and the entropy of the weights.

Queries and keys are read from the model's calls of `scaled_dot_product_attention`, so the model
needs no change; attention computed in another way is not seen unless it calls `report_attention`.
A captured pass costs about 1 % of
a training step, since only a sample of the queries is used; other passes cost nothing.
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


_watching: list[AttentionWatch] = []


def is_attention_watched() -> bool:
    """Whether `report_attention` has somebody to report to."""
    return bool(_watching)


def report_attention(q_HxTxC: Tensor, k_KxSxC: Tensor) -> None:
    """Show causal attention within one sequence to those who watch."""
    for watch in _watching:
        watch.receive_sequence(q_HxTxC, k_KxSxC)


class AttentionWatch(TorchFunctionMode):
    """Context manager that calls `receive` with the `attention_numbers` of each attention call.

    They stay on the device. Calls whose keys are not (batch, heads, keys, width) are skipped.
    """

    def __init__(self, receive: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._receive = receive

    def __enter__(self) -> AttentionWatch:
        super().__enter__()
        _watching.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        _watching.remove(self)
        super().__exit__(*error)

    @torch.no_grad()
    def receive_sequence(self, q_HxTxC: Tensor, k_KxSxC: Tensor) -> None:
        with torch.autocast(q_HxTxC.device.type, enabled=False):
            self._receive(attention_numbers(q_HxTxC, k_KxSxC, causal=True))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self._read(*args, **kwargs)
        return func(*args, **kwargs)

    @torch.no_grad()
    def _read(
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
        # The first sequence only: it has every head, and as many keys as the others.
        mask = None if attn_mask is None else attn_mask[(0,) * (attn_mask.dim() - 2)]
        with torch.autocast(query.device.type, enabled=False):
            self._receive(attention_numbers(query[0], key[0], mask, causal=is_causal, scale=scale))


def attention_numbers(
    q_HxTxC: Tensor,
    k_KxSxC: Tensor,
    mask_TxS: Tensor | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """(2,): the largest logit q·k·scale, and the mean entropy of the weights, in nats.

    Over all heads and up to 64 queries, evenly spaced, the last included. Logits that grow into the
    hundreds show a too large learning rate before the loss does (arXiv 2309.14322); the entropy is
    ln(keys) for uniform attention and 0 for a single key. `mask_TxS` is boolean, true where a query
    may attend, or is added to the logits. With fewer key heads K than query heads H, neighbouring
    query heads share keys.
    """
    queries, keys = q_HxTxC.shape[1], k_KxSxC.shape[1]
    count = min(queries, _MAX_QUERIES)
    # The last query attends to all keys, so it is always among the sampled ones.
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
