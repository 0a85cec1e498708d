"""Next-token cross entropy in chunks of tokens: the logits of a whole batch never exist.

Functions of hidden states, a head matrix and labels; `softcap` bounds the logits as
`engine.model.language_model` says. Loss and both gradients of a chunk are
computed while its logits exist, so nothing is computed twice and memory stays that of one chunk.
(2 cores, 1,024 tokens, hidden 512, vocabulary 6,400: 126 ms forward and backward; chunks that are
recomputed in the backward pass take 180 ms, all logits at once 130 to 300.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lmm_tui.engine.device import logits_budget
from lmm_tui.engine.model.layout import Counted


def loss_sum(
    hidden_BxTxD: Tensor,
    head_weight_VxD: Tensor,
    labels_BxT: Tensor,
    softcap: float | None = None,
    counted: Counted | None = None,
) -> Tensor:
    """Sum of -log p(label) in nats over labels != IGNORE; a scalar, fp32, differentiable once.

    `labels_BxT` are already shifted. Only the `counted` ones are multiplied with the head matrix;
    where those are not given, the device is asked for them, here and in the functions below. Under
    autocast the products have its dtype, the softmax is fp32.
    """
    hidden_NxD, labels_N, _ = _labelled(hidden_BxTxD, labels_BxT, counted)
    if torch.is_grad_enabled():
        return _LossAndGradients.apply(hidden_NxD, head_weight_VxD, labels_N, softcap)
    return _nll(hidden_NxD, head_weight_VxD, labels_N, softcap).sum()


@torch.no_grad()
def token_nll(
    hidden_BxTxD: Tensor,
    head_weight_VxD: Tensor,
    labels_BxT: Tensor,
    softcap: float | None = None,
    counted: Counted | None = None,
) -> Tensor:
    """-log p(label) in nats at each position, fp32 (B, T); zero where the label is IGNORE."""
    hidden_NxD, labels_N, rows_N = _labelled(hidden_BxTxD, labels_BxT, counted)
    nll_N = _nll(hidden_NxD, head_weight_VxD, labels_N, softcap)
    if rows_N is None:
        return nll_N.view_as(labels_BxT)
    return nll_N.new_zeros(labels_BxT.numel()).index_copy_(0, rows_N, nll_N).view_as(labels_BxT)


def token_log_probs(
    hidden_BxTxD: Tensor,
    head_weight_VxD: Tensor,
    labels_BxT: Tensor,
    temperature: float = 1.0,
    softcap: float | None = None,
    counted: Counted | None = None,
) -> LogProbs:
    """log p of each counted label, differentiable, for losses that weight tokens individually.

    Of softmax(logits / temperature). The logits of a chunk are recomputed in the backward pass.
    """
    hidden_NxD, labels_N, rows_N = _labelled(hidden_BxTxD, labels_BxT, counted)
    log_p_N, entropy_N = _TokenLogProbs.apply(
        hidden_NxD, head_weight_VxD, labels_N, temperature, softcap
    )
    return LogProbs(log_p_N, entropy_N, _every(rows_N, labels_N))


Cost = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(hidden (N, D), head (V, D), labels (N,), rows (N,) in B * T) -> sums (K,) of a few tokens."""


def chunked_loss(
    cost: Cost,
    hidden_BxTxD: Tensor,
    head_weight_VxD: Tensor,
    labels_BxT: Tensor,
    counted: Counted | None = None,
) -> Tensor:
    """The sums (K,) of any cost over the counted labels, in chunks; the first one differentiable.

    Gradients come from autograd chunk by chunk, so only one chunk's logits exist at a time.
    """
    hidden_NxD, labels_N, chosen_N = _labelled(hidden_BxTxD, labels_BxT, counted)
    rows_N = _every(chosen_N, labels_N)
    if not torch.is_grad_enabled():
        parts = [
            cost(hidden_NxD[rows], head_weight_VxD, labels_N[rows], rows_N[rows])
            for rows in _chunks(labels_N, head_weight_VxD)
        ]
        return torch.stack(parts).sum(0)
    sums: Tensor = _Chunked.apply(cost, hidden_NxD, head_weight_VxD, labels_N, rows_N)
    return sums


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        cost: Cost,
        hidden_NxD: Tensor,
        weight_VxD: Tensor,
        labels_N: Tensor,
        rows_N: Tensor,
    ) -> Tensor:
        parts: list[Tensor] = []
        grad_hidden_NxD = torch.empty_like(hidden_NxD)
        grad_weight_VxD = torch.zeros_like(weight_VxD)
        head = weight_VxD.detach().requires_grad_(ctx.needs_input_grad[2])
        for rows in _chunks(labels_N, weight_VxD):
            hidden = hidden_NxD[rows].detach().requires_grad_()
            of = (hidden, head) if head.requires_grad else (hidden,)
            with torch.enable_grad():
                sums = cost(hidden, head, labels_N[rows], rows_N[rows])
                grads = torch.autograd.grad(sums[0], of)
            parts.append(sums.detach())
            grad_hidden_NxD[rows] = grads[0]
            if head.requires_grad:
                grad_weight_VxD += grads[1]
        ctx.save_for_backward(grad_hidden_NxD, grad_weight_VxD)
        return torch.stack(parts).sum(0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_K: Tensor) -> tuple[None, Tensor, Tensor, None, None]:
        grad_hidden_NxD, grad_weight_VxD = ctx.saved_tensors
        return None, grad_hidden_NxD * grad_K[0], grad_weight_VxD * grad_K[0], None, None


class LogProbs(NamedTuple):
    log_p_N: Tensor
    """Nats, fp32."""
    entropy_N: Tensor
    """Of the distribution that the label was drawn from, nats; without a gradient."""
    rows_N: Tensor
    """Where each label is in B * T, ascending."""


class _TokenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NxD: Tensor,
        weight_VxD: Tensor,
        labels_N: Tensor,
        temperature: float,
        softcap: float | None,
    ) -> tuple[Tensor, Tensor]:
        compute = _compute_dtype(hidden_NxD)
        weight = weight_VxD.to(compute)
        log_p_N = hidden_NxD.new_empty(len(labels_N), dtype=_softmax_dtype(compute))
        entropy_N = torch.empty_like(log_p_N)
        for rows in _chunks(labels_N, weight):
            logits = _logits(hidden_NxD[rows].to(compute), weight, softcap).to(log_p_N.dtype)
            log_p = torch.log_softmax(logits.div_(temperature), dim=-1)
            log_p_N[rows] = log_p.gather(1, labels_N[rows].unsqueeze(1)).squeeze(1)
            entropy_N[rows] = -(log_p.exp() * log_p).sum(-1)
        ctx.save_for_backward(hidden_NxD, weight_VxD, labels_N)
        ctx.compute, ctx.temperature, ctx.softcap = compute, temperature, softcap
        ctx.mark_non_differentiable(entropy_N)
        return log_p_N, entropy_N

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_N: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden_NxD, weight_VxD, labels_N = ctx.saved_tensors
        weight = weight_VxD.to(ctx.compute)
        grad_hidden_NxD = torch.empty_like(hidden_NxD)
        grad_weight_VxD = torch.zeros_like(weight_VxD) if ctx.needs_input_grad[1] else None
        for rows in _chunks(labels_N, weight):
            hidden, label = hidden_NxD[rows].to(ctx.compute), labels_N[rows].unsqueeze(1)
            grad = grad_N[rows].unsqueeze(1)
            # d(log p_label) / d(logits / temperature) = one_hot(label) - softmax
            logits = _logits(hidden, weight, ctx.softcap)
            again = logits.to(grad.dtype, copy=ctx.softcap is not None)
            p = torch.softmax(again.div_(ctx.temperature), dim=-1)
            grad = grad / ctx.temperature
            grad_logits = p.mul_(-grad).scatter_add_(1, label, grad).to(ctx.compute)
            _uncap_(grad_logits, logits, ctx.softcap)
            grad_hidden_NxD[rows] = (grad_logits @ weight).to(grad_hidden_NxD.dtype)
            if grad_weight_VxD is not None:
                grad_weight_VxD += grad_logits.T @ hidden
        return grad_hidden_NxD, grad_weight_VxD, None, None, None


class _LossAndGradients(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NxD: Tensor,
        weight_VxD: Tensor,
        labels_N: Tensor,
        softcap: float | None,
    ) -> Tensor:
        compute = _compute_dtype(hidden_NxD)
        weight = weight_VxD.to(compute)
        total = torch.zeros((), dtype=_softmax_dtype(compute), device=hidden_NxD.device)
        grad_hidden_NxD = torch.empty_like(hidden_NxD)
        grad_weight_VxD = torch.zeros_like(weight_VxD) if ctx.needs_input_grad[1] else None
        for rows in _chunks(labels_N, weight):
            hidden, label = hidden_NxD[rows].to(compute), labels_N[rows].unsqueeze(1)
            logits = _logits(hidden, weight, softcap)
            log_p = torch.log_softmax(logits, dim=-1, dtype=total.dtype)
            total -= log_p.gather(1, label).sum()
            # d(-log p_label) / d(logits) = softmax(logits) - one_hot(label)
            grad_logits = log_p.exp_()
            grad_logits.scatter_add_(1, label, grad_logits.new_full(label.shape, -1.0))
            grad_logits = grad_logits.to(compute)
            _uncap_(grad_logits, logits, softcap)
            grad_hidden_NxD[rows] = grad_logits @ weight
            if grad_weight_VxD is None:
                continue
            if compute == grad_weight_VxD.dtype:
                grad_weight_VxD.addmm_(grad_logits.T, hidden)
            else:
                grad_weight_VxD += grad_logits.T @ hidden
        ctx.save_for_backward(grad_hidden_NxD, grad_weight_VxD)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_total: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden_NxD, grad_weight_VxD = ctx.saved_tensors
        scaled = None if grad_weight_VxD is None else grad_weight_VxD * grad_total
        return grad_hidden_NxD * grad_total, scaled, None, None


def _labelled(
    hidden_BxTxD: Tensor, labels_BxT: Tensor, counted: Counted | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Hidden states and labels of the counted positions, and where these are in B * T; None: all
    of them."""
    hidden_MxD, labels_M = hidden_BxTxD.flatten(0, 1), labels_BxT.flatten()
    rows_N = (Counted.of(labels_BxT) if counted is None else counted).rows_N
    if rows_N is None:
        return hidden_MxD, labels_M, None
    return hidden_MxD.index_select(0, rows_N), labels_M.index_select(0, rows_N), rows_N


def _every(rows_N: Tensor | None, labels_N: Tensor) -> Tensor:
    return torch.arange(len(labels_N), device=labels_N.device) if rows_N is None else rows_N


def _logits(hidden_NxD: Tensor, weight_VxD: Tensor, softcap: float | None) -> Tensor:
    logits_NxV = hidden_NxD @ weight_VxD.T
    if softcap is not None:
        logits_NxV.div_(softcap).tanh_().mul_(softcap)
    return logits_NxV


def _uncap_(grad_NxV: Tensor, logits_NxV: Tensor, softcap: float | None) -> None:
    """From the gradient of bounded logits to that of the product: tanh' = 1 - tanh^2."""
    if softcap is not None:
        grad_NxV.mul_(1 - (logits_NxV / softcap).square())


def _nll(hidden_NxD: Tensor, weight_VxD: Tensor, labels_N: Tensor, softcap: float | None) -> Tensor:
    compute = _compute_dtype(hidden_NxD)
    weight = weight_VxD.to(compute)
    nll_N = torch.empty(len(labels_N), dtype=_softmax_dtype(compute), device=hidden_NxD.device)
    for rows in _chunks(labels_N, weight):
        logits = _logits(hidden_NxD[rows].to(compute), weight, softcap)
        log_p = torch.log_softmax(logits, -1, dtype=nll_N.dtype)
        nll_N[rows] = -log_p.gather(1, labels_N[rows].unsqueeze(1)).squeeze(1)
    return nll_N


def _chunks(labels_N: Tensor, weight_VxD: Tensor) -> Iterator[slice]:
    size = max(1, logits_budget(weight_VxD.device) // len(weight_VxD))
    return (slice(start, start + size) for start in range(0, len(labels_N), size))


def _compute_dtype(hidden: Tensor) -> torch.dtype:
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def _softmax_dtype(compute: torch.dtype) -> torch.dtype:
    return torch.promote_types(compute, torch.float32)


if __name__ == "__main__":
    hidden, head = torch.randn(2, 9, 16), torch.randn(32, 16)
    labels = torch.randint(0, 32, (2, 9))
    labels[0, :4] = -100
    found = loss_sum(hidden, head, labels).item()
    print(found, "nats over", (labels >= 0).sum().item(), "labels")
    print("=== 自测通过 ===")
