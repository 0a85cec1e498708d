"""Policy gradients from groups of completions of one prompt: GRPO and its variants.

Pure functions of rewards and of per-token log-probabilities. N is completions, T tokens of a
completion, G groups, K completions in a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo"]
PER_STEP: tuple[Kind, ...] = ("dapo", "cispo")
"""Losses that are a mean over all tokens of a step."""

_LEAST_SPREAD = 1e-4


@dataclass(frozen=True)
class PolicyLoss:
    """The losses of N completions, and sums over their tokens that are worth a curve (detached)."""

    losses_N: Tensor
    """The loss of a step is the mean over its completions, in whatever micro-batches they are."""
    kl: Tensor
    """Sum of the estimated KL divergence from the reference, nats; 0 without a reference."""
    clipped: Tensor
    """Tokens whose gradient is clipped away (`cispo`: whose weight is bounded)."""
    tokens: Tensor


def group_advantages(rewards_GxK: Tensor, kind: Kind) -> Tensor:
    """The advantage of each completion over those of the same prompt, (G, K).

    (r - mean) / (std + 1e-4) with the sample deviation (arXiv 2402.03300), for `dr_grpo` without
    the division (arXiv 2503.20783). For `rloo` r - mean of the other completions (arXiv
    2402.14740). A completion whose reward is NaN is not counted, and gets 0, as one alone does.
    """
    scored = ~rewards_GxK.isnan()
    count_Gx1 = scored.sum(1, keepdim=True)
    mean_Gx1 = rewards_GxK.nansum(1, keepdim=True) / count_Gx1.clamp(min=1)
    centred_GxK = torch.where(scored, rewards_GxK - mean_Gx1, 0)
    if kind == "dr_grpo":
        return centred_GxK
    if kind == "rloo":
        return centred_GxK * count_Gx1 / (count_Gx1 - 1).clamp(min=1)
    return centred_GxK / (_deviation(centred_GxK, count_Gx1) + _LEAST_SPREAD)


def groups_without_spread(rewards_GxK: Tensor) -> Tensor:
    """Which groups have no gradient, since all their completions have one reward, (G,)."""
    highest_G = rewards_GxK.nan_to_num(nan=-torch.inf).amax(1)
    lowest_G = rewards_GxK.nan_to_num(nan=torch.inf).amin(1)
    return highest_G <= lowest_G


def policy_loss(
    log_p_NxT: Tensor,
    old_log_p_NxT: Tensor,
    advantages_N: Tensor,
    mask_NxT: Tensor,
    *,
    kind: Kind,
    clip_low: float,
    clip_high: float,
    length: float,
    reference_log_p_NxT: Tensor | None = None,
    beta: float = 0.0,
) -> PolicyLoss:
    """The loss of each completion; where `mask_NxT` is 0 there is no token.

    With the ratio w = p / p_old and the advantage A, the loss of a token is for `grpo` and
    `dr_grpo` -min(w A, clip(w, 1 - clip_low, 1 + clip_high) A), averaged over the completion's own
    tokens (arXiv 2402.03300) or divided by a constant, `length`: the most tokens a completion may
    have (arXiv 2503.20783). `dapo` divides by the mean tokens of a completion in the step, which
    makes it a mean over tokens (arXiv 2503.14476, equation 8). `cispo` does so, too, with the loss
    -min(w, 1 + clip_high) A log p whose weight is held constant (arXiv 2506.13585, equations 4 and
    5, without their lower bound, as there).

    Two have one ratio for a whole completion: for `gspo` it is the geometric mean of the tokens'
    (arXiv 2507.18071, equation 7), for `rloo` their product, and the loss of a completion isn't
    divided by its tokens (arXiv 2402.14740).

    A reference adds `beta` times the estimate q - log q - 1 of the KL divergence, q = p_ref / p
    (arXiv 2402.03300, equation 4).
    """
    lengths_N = mask_NxT.sum(1)
    log_ratio_NxT = log_p_NxT - old_log_p_NxT
    if kind in ("gspo", "rloo"):
        log_ratio_N = (log_ratio_NxT * mask_NxT).sum(1)
        if kind == "gspo":
            log_ratio_N = log_ratio_N / lengths_N.clamp(min=1)
        log_ratio_NxT = log_ratio_N.unsqueeze(1).expand_as(log_ratio_NxT)
    ratio_NxT = log_ratio_NxT.exp()
    advantages_Nx1 = advantages_N.unsqueeze(1)
    if kind == "cispo":
        weight_NxT = ratio_NxT.detach().clamp(max=1 + clip_high)
        loss_NxT = -weight_NxT * advantages_Nx1 * log_p_NxT
        clipped_NxT = (ratio_NxT > 1 + clip_high) & (advantages_Nx1 > 0)
    else:
        bounded_NxT = ratio_NxT.clamp(1 - clip_low, 1 + clip_high)
        loss_NxT = -torch.min(ratio_NxT * advantages_Nx1, bounded_NxT * advantages_Nx1)
        too_low = (ratio_NxT < 1 - clip_low) & (advantages_Nx1 < 0)
        too_high = (ratio_NxT > 1 + clip_high) & (advantages_Nx1 > 0)
        clipped_NxT = too_low | too_high
    kl = log_p_NxT.new_zeros(())
    if reference_log_p_NxT is not None:
        log_q_NxT = reference_log_p_NxT - log_p_NxT
        kl_NxT = log_q_NxT.exp() - log_q_NxT - 1
        loss_NxT = loss_NxT + beta * kl_NxT
        kl = _sum(kl_NxT.detach(), mask_NxT)
    # The loss of a completion with one ratio stands once in each of its tokens.
    by_own_length = kind in ("grpo", "gspo", "rloo")
    divisor = lengths_N.clamp(min=1) if by_own_length else length
    return PolicyLoss(
        losses_N=(loss_NxT * mask_NxT).sum(1) / divisor,
        kl=kl,
        clipped=_sum(clipped_NxT, mask_NxT),
        tokens=lengths_N.sum(),
    )


def _deviation(centred_GxK: Tensor, count_Gx1: Tensor) -> Tensor:
    return (centred_GxK.square().sum(1, keepdim=True) / (count_Gx1 - 1).clamp(min=1)).sqrt()


def _sum(values_NxT: Tensor, mask_NxT: Tensor) -> Tensor:
    return (values_NxT * mask_NxT).sum()


if __name__ == "__main__":
    rewards_GxK = torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, torch.nan, 1.0]])
    print(group_advantages(rewards_GxK, "grpo"))
    assert groups_without_spread(rewards_GxK).tolist() == [False, True]
    print("=== 自测通过 ===")
