"""Statistics of activations: size, outliers, dead units, effective rank.

Pure functions of sampled rows, (N, D). For 512 rows of every layer each costs less than 1 % of a
training step, except the effective rank (a singular value decomposition for each layer).
"""

from __future__ import annotations

import torch
from torch import Tensor

DEAD = 1e-3
"""A unit is dead if it never exceeds this fraction of the largest unit's magnitude."""

_RANK_ROWS = 128
_TINY = torch.finfo(torch.float32).tiny


def rms_and_outlier(h_NxD: Tensor) -> Tensor:
    """(2,): root mean square of all entries, and the largest magnitude over it.

    The ratio is 1 if all magnitudes are equal, about 4 to 5 for Gaussian rows. Hundreds mean that a
    few channels dominate, which low precision represents badly (arXiv 2208.07339).
    """
    h_NxD = h_NxD.float()
    rms = h_NxD.square().mean().sqrt()
    return torch.stack([rms, h_NxD.abs().amax() / rms.clamp_min(_TINY)])


def dead_share(a_NxF: Tensor) -> Tensor:
    """The share of units (columns) whose magnitude stays below DEAD times the largest one, 0-d.

    Gated units are never exactly 0, hence the threshold. Above 0.3 after a spike, units rarely
    recover.
    """
    reach_F = a_NxF.abs().amax(0).float()
    return (reach_F <= DEAD * reach_F.amax()).float().mean()


def effective_rank(h_NxD: Tensor) -> Tensor:
    """exp of the entropy of the normalised singular values, 1 to min(N, D), 0-d.

    Roy & Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007. Of
    the first 128 rows, so never above 128; rows that are all 0 give NaN.
    """
    sigma = torch.linalg.svdvals(h_NxD[:_RANK_ROWS].float())
    return torch.special.entr(sigma / sigma.sum()).sum().exp()


def sample_rows(x_BxTxD: Tensor, most: int) -> Tensor:
    """A copy of up to `most` of the B·T rows, (N, D): evenly spaced, so always the same."""
    rows = x_BxTxD.detach().flatten(0, -2)
    if len(rows) <= most:
        return rows.clone()
    chosen = torch.arange(most, device=rows.device) * len(rows) // most
    return rows.index_select(0, chosen)


if __name__ == "__main__":
    gaussian = torch.randn(128, 64)
    print("rms, outlier:", rms_and_outlier(gaussian), "rank:", effective_rank(gaussian))
    assert dead_share(torch.rand(32, 4) * torch.tensor([1.0, 1.0, 0.0, 1e-5])) == 0.5
    print("=== 自测通过 ===")
