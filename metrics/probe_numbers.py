"""The nine probe numbers as pure functions of sampled logits and hidden states.

Each returns one tensor on the device of its input, so that a probe copies once. Tensors are named
with their shapes: N sampled tokens, V vocabulary, D width, S sequences. NaN stands for a number
that the sample does not define.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

IGNORE_INDEX = -100
_TOP_K = 10
_TINY = torch.finfo(torch.float32).tiny


def participation_ratio(x_NxD: Tensor, weight_N: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The effective number of directions: tr(C)² / ‖C‖² of the rows' covariance C, 0 to D.

    Returns the plain estimate and one corrected for the bias of few rows. For N Gaussian rows
    E‖C_N‖² = ‖C‖² + tr(C)²/N (arXiv 2509.26560), hence 1/PR = 1/PR_N - 1/N; where that is not
    positive, the plain estimate is returned. Constant rows give 0, fewer than two NaN. `weight_N`
    is 1 for rows that count and 0 for others.
    """
    weight_N = torch.ones_like(x_NxD[:, 0]) if weight_N is None else weight_N
    n = weight_N.sum()
    x_NxD = x_NxD * weight_N[:, None]
    # The ratio does not depend on scale; at 1 no square overflows or underflows.
    x_NxD = x_NxD / x_NxD.abs().amax().clamp_min(_TINY)
    centred = (x_NxD - x_NxD.sum(0) / n) * weight_N[:, None]
    trace = centred.square().sum()
    # Constant rows have no variance but that of rounding.
    constant = trace <= 1e-12 * x_NxD.square().sum()
    centred = centred / trace.sqrt().clamp_min(_TINY)
    # With tr(C) = 1 the ratio is 1 / ‖C‖², and X Xᵀ and Xᵀ X have the same norm: take the smaller.
    rows, columns = centred.shape
    gram = centred @ centred.T if rows < columns else centred.T @ centred
    plain = torch.where(constant, 0.0, 1.0 / gram.square().sum())
    inverse = 1.0 / plain - 1.0 / n
    corrected = torch.where(inverse > 0, 1.0 / inverse, plain).clamp_max(columns)
    few = n < 2
    return plain.masked_fill(few, torch.nan), corrected.masked_fill(few, torch.nan)


def output_numbers(z_NxV: Tensor, y_N: Tensor, unshifted_N: Tensor) -> Tensor:
    """Rows used, rows dropped, loss, loss of the unshifted labels, then OUTPUT_PROBES."""
    # A row is finite if its extremes are: thirty times faster than testing every logit.
    finite_N = torch.isfinite(z_NxV.amax(-1)) & torch.isfinite(z_NxV.amin(-1))
    n = finite_N.sum()
    logp = torch.log_softmax(z_NxV, -1)
    p = logp.exp()

    def mean(values_N: Tensor, counted_N: Tensor = finite_N) -> Tensor:
        return torch.where(counted_N, values_N, 0.0).sum() / counted_N.sum()

    def loss(label_N: Tensor) -> Tensor:
        labelled = label_N != IGNORE_INDEX
        picked = logp.gather(1, label_N.clamp_min(0)[:, None]).squeeze(1)
        return -mean(picked, finite_N & labelled)

    top_p, top = p.topk(min(_TOP_K, p.shape[1]), dim=-1)
    hit = top == y_N[:, None]
    runner_up = top_p[:, 1] if top_p.shape[1] > 1 else torch.zeros_like(top_p[:, 0])
    numbers = [
        n,
        len(z_NxV) - n,
        loss(y_N),
        loss(unshifted_N),
        mean(-(p * logp).sum(-1)),
        mean(hit[:, :1].any(-1).float()),
        mean(hit[:, :5].any(-1).float()),
        mean(top_p[:, 0] - runner_up),
        mean(top_p.sum(-1)),
        mean(p.gather(1, y_N[:, None]).squeeze(1)),
    ]
    return torch.stack([number.float() for number in numbers])


def representation_numbers(h_NxD: Tensor, sequence_N: Tensor, sequences: int) -> Tensor:
    """Rows dropped, then REPRESENTATION_PROBES; NaN where a number is not defined."""
    finite_N = torch.isfinite(h_NxD).all(-1)
    weight_N = finite_N.float()
    h_NxD = h_NxD.masked_fill(~finite_N[:, None], 0.0)
    _, ratio = participation_ratio(h_NxD, weight_N)
    largest_N = h_NxD.abs().amax(-1, keepdim=True)
    unit_NxD = nn.functional.normalize(h_NxD / largest_N.clamp_min(_TINY), dim=-1)

    def by_sequence(values_NxM: Tensor) -> Tensor:
        sums = values_NxM.new_zeros(sequences, values_NxM.shape[1])
        return sums.index_add_(0, sequence_N, values_NxM)

    # The sum of u·v over all pairs of unit vectors is ‖Σu‖²: no N x N matrix. Less the u·u, that
    # is the cosine within a sequence; less the sums within sequences, that between them.
    count_S = by_sequence(weight_N[:, None]).squeeze(1)
    sum_SxD = by_sequence(unit_NxD)
    self_S = by_sequence(unit_NxD.square().sum(-1, keepdim=True)).squeeze(1)
    square_S = sum_SxD.square().sum(-1)
    intra_S = (square_S - self_S) / (count_S * (count_S - 1)).clamp_min(1)
    paired_S = count_S > 1
    intra = (intra_S * paired_S).sum() / paired_S.sum()
    inter = (sum_SxD.sum(0).square().sum() - square_S.sum()) / (
        count_S.sum().square() - count_S.square().sum()
    )
    inter = inter.masked_fill((count_S > 0).sum() < 2, torch.nan)
    return torch.stack([len(h_NxD) - weight_N.sum(), intra, inter, ratio])


if __name__ == "__main__":
    labels_N = torch.randint(6400, (32,))
    numbers = output_numbers(torch.zeros(32, 6400), labels_N, labels_N)
    print("loss, entropy of uniform logits:", numbers[2].item(), numbers[4].item())
    print("representations:", representation_numbers(torch.eye(8), torch.arange(8) // 4, 2))
    print("=== 自测通过 ===")
