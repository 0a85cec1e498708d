"""Preference optimisation: the loss of pairs of answers, or of answers with a verdict, and their
implicit rewards.

Pure functions of log-probabilities, each summed over the tokens of an answer given its prompt. B
is the number of pairs, or of answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

Kind = Literal["sigmoid", "ipo"]
FreeKind = Literal["orpo", "simpo"]
UnpairedKind = Literal["kto", "apo_zero"]
REFERENCE_FREE = get_args(FreeKind)
"""Losses that need no reference model."""


@dataclass(frozen=True)
class Rewards:
    """The implicit rewards of the answers of B pairs; detached."""

    chosen_B: Tensor
    rejected_B: Tensor

    @property
    def margin_B(self) -> Tensor:
        return self.chosen_B - self.rejected_B

    @property
    def accuracy_B(self) -> Tensor:
        """1 where the chosen answer has the higher reward, else 0."""
        return (self.margin_B > 0).to(self.chosen_B.dtype)


def dpo_loss(
    policy_chosen_B: Tensor,
    policy_rejected_B: Tensor,
    reference_chosen_B: Tensor,
    reference_rejected_B: Tensor,
    *,
    beta: float,
    label_smoothing: float,
    kind: Kind,
    chosen_lengths_B: Tensor,
    rejected_lengths_B: Tensor,
) -> Tensor:
    """The loss of each pair, (B,); the loss of a step is their mean.

    With h = log(p / p_ref) of the chosen minus that of the rejected answer, `sigmoid` is
    -log sigmoid(beta h) (arXiv 2305.18290, equation 7); a share `label_smoothing` of the pairs is
    taken to be labelled the wrong way round (arXiv 2403.00409, where it is called cDPO). `ipo` is
    (h - 1 / (2 beta))^2 (arXiv 2310.12036, equation 17) with log-probabilities per token, as its
    authors computed them, hence the lengths, in tokens; it has no smoothing.
    """
    chosen_B = policy_chosen_B - reference_chosen_B
    rejected_B = policy_rejected_B - reference_rejected_B
    if kind == "ipo":
        per_token_B = chosen_B / chosen_lengths_B - rejected_B / rejected_lengths_B
        return (per_token_B - 1 / (2 * beta)).square()
    scaled_B = beta * (chosen_B - rejected_B)
    right_B, wrong_B = F.logsigmoid(scaled_B), F.logsigmoid(-scaled_B)
    return -(1 - label_smoothing) * right_B - label_smoothing * wrong_B


def reference_free_loss(
    chosen_B: Tensor, rejected_B: Tensor, *, beta: float, gamma: float, kind: FreeKind
) -> Tensor:
    """The loss of each pair, (B,), of mean log-probabilities per token.

    `orpo` is -log p of the chosen answer - beta * log sigmoid of the log odds ratio, with odds
    p / (1 - p) (arXiv 2403.07691, equations 4 to 7); the first term is over the answer alone.
    `simpo` is -log sigmoid(beta * difference - gamma) (arXiv 2405.14734, equation 6).
    """
    difference_B = chosen_B - rejected_B
    if kind == "simpo":
        return -F.logsigmoid(beta * difference_B - gamma)
    log_odds_B = difference_B - (_log_complement(chosen_B) - _log_complement(rejected_B))
    return -chosen_B - beta * F.logsigmoid(log_odds_B)


def unpaired_loss(
    policy_B: Tensor,
    reference_B: Tensor,
    good_B: Tensor,
    *,
    kl: float,
    beta: float,
    kind: UnpairedKind,
) -> Tensor:
    """The loss of each answer, (B,), of which `good_B` (bool) says whether it is a good one.

    With h = log(p / p_ref), `kto` is 1 - sigmoid(beta (h - kl)) of a good answer and 1 -
    sigmoid(beta (kl - h)) of a bad one, where `kl`, at least 0, is an estimate of the KL
    divergence from the reference (arXiv 2402.01306, equations 7 and 8). `apo_zero` is the same
    without `kl` (arXiv 2408.06266, section 4, for answers without a pair).
    """
    reference_point = kl if kind == "kto" else 0.0
    scaled_B = beta * (policy_B - reference_B - reference_point)
    return 1 - torch.sigmoid(torch.where(good_B, scaled_B, -scaled_B))


def reward_loss(
    chosen_B: Tensor, rejected_B: Tensor, *, margin: float = 0.0, centre: float = 0.0
) -> Tensor:
    """The loss of a reward model for each pair of scalar rewards, (B,).

    -log sigmoid(difference - margin), the likelihood of Bradley and Terry (arXiv 2203.02155,
    equation 1; the margin is that of arXiv 2307.09288, equation 2), plus `centre` times the square
    of the sum of both, which keeps rewards around 0 (arXiv 2312.09244, equation 2).
    """
    loss_B = -F.logsigmoid(chosen_B - rejected_B - margin)
    return loss_B + centre * (chosen_B + rejected_B).square()


def _log_complement(log_p: Tensor) -> Tensor:
    """log(1 - p), exact for p near 0 and near 1."""
    log_p = log_p.clamp(max=-torch.finfo(log_p.dtype).tiny)
    near_one = log_p > -math.log(2)
    # Each branch gets numbers that it can take: the gradient of the other one would be NaN.
    high = torch.log(-torch.expm1(torch.where(near_one, log_p, -1.0)))
    low = torch.log1p(-torch.exp(torch.where(near_one, -1.0, log_p)))
    return torch.where(near_one, high, low)


@torch.no_grad()
def implicit_rewards(
    policy_chosen_B: Tensor,
    policy_rejected_B: Tensor,
    reference_chosen_B: Tensor,
    reference_rejected_B: Tensor,
    *,
    beta: float,
) -> Rewards:
    """beta * log(p / p_ref) of each answer (arXiv 2305.18290, section 5)."""
    return Rewards(
        beta * (policy_chosen_B - reference_chosen_B),
        beta * (policy_rejected_B - reference_rejected_B),
    )


if __name__ == "__main__":
    chosen, rejected = torch.tensor([-4.0, -6.0]), torch.tensor([-5.0, -5.0])
    rewards = implicit_rewards(chosen, rejected, rejected, rejected, beta=0.1)
    print(rewards)
    assert rewards.accuracy_B.tolist() == [1, 0]
    print("=== 自测通过 ===")
