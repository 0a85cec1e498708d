"""Whether a model's confidence is worth what it says, and how far its normaliser has drifted.

Pure functions of logits; both are nearly free once there are logits (below 0.5 % of a training
step for 512 rows).
"""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 15


def expected_calibration_error(logits_NxV: Tensor, labels_N: Tensor) -> Tensor:
    """Σ_b n_b/N · |accuracy_b - confidence_b| over 15 equal bins of the top probability, 0-d.

    Guo et al. 2017 (arXiv 1706.04599). 0 is calibrated, 1 is always sure and always wrong. Of
    held-out text only: there it tells leaks, over-fitting and unshifted labels.
    """
    confidence_N, top_N = logits_NxV.float().softmax(-1).max(-1)
    right_N = (top_N == labels_N).float()
    bin_N = (confidence_N * BINS).ceil().long().clamp(1, BINS) - 1
    gap_B = torch.zeros(BINS, device=logits_NxV.device).index_add_(0, bin_N, right_N - confidence_N)
    return gap_B.abs().sum() / len(labels_N)


def log_normaliser(logits_NxV: Tensor) -> Tensor:
    """The mean of log Σ exp(logits), 0-d.

    The loss does not hold it anywhere: where it wanders off, low precision loses first. PaLM
    keeps it at 0 (arXiv 2204.02311, z-loss).
    """
    return logits_NxV.float().logsumexp(-1).mean()


if __name__ == "__main__":
    sure = torch.tensor([[20.0, 0.0], [20.0, 0.0]])
    print(expected_calibration_error(sure, torch.tensor([0, 1])), log_normaliser(sure))
    assert torch.isclose(
        expected_calibration_error(sure, torch.tensor([0, 1])), torch.tensor(0.5), atol=1e-4
    )
    print("=== 自测通过 ===")
