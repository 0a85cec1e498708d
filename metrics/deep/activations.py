"""What flows through a network: how large it is, how uneven, how many directions, how much is dead.

Pure functions of sampled rows; they know no model. Each costs below 1 % of a training step for
512 rows of every layer, but for the effective rank (a singular value decomposition a layer).
"""

from __future__ import annotations

import torch
from torch import Tensor

DEAD = 1e-3
"""A unit is dead where it never exceeds this share of what the largest one reaches."""

_RANK_ROWS = 128
_TINY = torch.finfo(torch.float32).tiny


def rms_and_outlier(h_NxD: Tensor) -> Tensor:
    """(2,): root mean square of all entries, and the largest magnitude over it.

    The ratio is 1 where all are equal, about 4 to 5 for Gaussian rows; hundreds mean that a few
    channels carry it all, which low precision pays for (arXiv 2208.07339).
    """
    h_NxD = h_NxD.float()
    rms = h_NxD.square().mean().sqrt()
    return torch.stack([rms, h_NxD.abs().amax() / rms.clamp_min(_TINY)])


def dead_share(a_NxF: Tensor) -> Tensor:
    """The share of units (columns) that stay within DEAD times the largest magnitude of all, 0-d.

    Gated units are never exactly 0, hence a bound. Over 0.3 after a spike: they won't come back.
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
    """Up to `most` of the B·T rows, evenly spread and always the same; a copy, (N, D)."""
    rows = x_BxTxD.detach().flatten(0, -2)
    if len(rows) <= most:
        return rows.clone()
    chosen = torch.arange(most, device=rows.device) * len(rows) // most
    return rows.index_select(0, chosen)


if __name__ == "__main__":
    gaussian = torch.randn(128, 64, generator=torch.Generator().manual_seed(0))
    print("rms, outlier:", rms_and_outlier(gaussian).tolist())
    print("effective rank:", effective_rank(gaussian).item(), effective_rank(torch.eye(8)).item())
    units = torch.rand(32, 4) * torch.tensor([1.0, 1.0, 0.0, 1e-5])
    assert dead_share(units) == 0.5 and torch.isclose(
        effective_rank(torch.eye(8)), torch.tensor(8.0)
    )
    print("=== 自测通过 ===")
