"""A round of GRPO as data: prompts with their completions and rewards, and its micro-batches.

G is prompts, each with a group of K completions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmm_tui.engine.stages.completion_batch import CompletionBatch
from lmm_tui.engine.stages.policy_loss import Kind, group_advantages, groups_without_spread
from lmm_tui.engine.transfer import to_device


@dataclass
class RolloutBatch:
    """The completions of a round, in plain values and tensors; checkpoints hold it field by field.

    Completion n belongs to prompt n // K.
    """

    number: int
    prompts: list[int]
    """The index of each prompt in the data."""
    ids: list[list[int]]
    ended: list[bool]
    log_probs: list[Tensor]
    """As the rollout measured them."""
    old_log_probs: list[Tensor]
    """As a training step measures them, before the first one; empty where no step needs them."""
    totals: list[float]
    """The weighted sum of rewards; NaN for a completion that a reward failed on."""
    by_reward: dict[str, list[float]]
    failures: int

    @property
    def group(self) -> int:
        """Completions of a prompt."""
        return len(self.ids) // len(self.prompts)


def completion_batches(
    rollouts: RolloutBatch,
    prompt_ids: Sequence[list[int]],
    *,
    kind: Kind,
    batch_size: int,
    seq_len: int,
    device: torch.device,
) -> list[CompletionBatch]:
    """The micro-batches of a round, with the groups of `batch_size` prompts in each.

    `prompt_ids` are the tokens of all prompts in the data; `kind` is that of the loss.
    """
    group = rollouts.group
    rewards_GxK = torch.tensor(rollouts.totals).view(-1, group)
    advantages_GxK = group_advantages(rewards_GxK, kind)
    mean_length = mean_scored([float(len(ids)) for ids in rollouts.ids])
    batches = []
    for first in range(0, len(rollouts.prompts), batch_size):
        last = first + batch_size
        numbers = range(first * group, last * group)
        items = []
        for number in numbers:
            prompt, ids = prompt_ids[rollouts.prompts[number // group]], rollouts.ids[number]
            items.append((prompt + ids, [False] * len(prompt) + [True] * len(ids)))
        sampled_AxT = _padded(rollouts.log_probs, numbers)
        old_AxT = _padded(rollouts.old_log_probs or rollouts.log_probs, numbers)
        lengths_A = torch.tensor([len(rollouts.ids[number]) for number in numbers])
        mask_AxT = (torch.arange(old_AxT.shape[1]) < lengths_A.unsqueeze(1)).float()
        sums = _sums(rollouts, rewards_GxK[first:last], numbers)
        values = to_device(torch.stack([*sums.values()]), device)
        batches.append(
            CompletionBatch.of(
                items,
                seq_len,
                device,
                sampled_log_p_AxT=to_device(sampled_AxT, device),
                old_log_p_AxT=to_device(old_AxT, device),
                mask_AxT=to_device(mask_AxT, device),
                advantages_A=to_device(advantages_GxK[first:last].flatten(), device),
                mean_length=mean_length,
                sums=dict(zip(sums, values.unbind(), strict=True)),
            )
        )
    return batches


def _padded(log_probs: Sequence[Tensor], numbers: range) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence([log_probs[at] for at in numbers], batch_first=True)


def _sums(rollouts: RolloutBatch, rewards_GxK: Tensor, numbers: range) -> dict[str, Tensor]:
    """Sums over completions, by metric; a value of a group counts once per completion of it."""
    group = rewards_GxK.shape[1]
    spread_G = rewards_GxK.nan_to_num(nan=0.0).std(dim=1)
    sums = {
        "grpo/reward": _sum(rollouts.totals, numbers),
        "grpo/reward_spread": spread_G.sum() * group,
        "grpo/flat_groups": groups_without_spread(rewards_GxK).float().sum() * group,
        "grpo/length": _sum([float(len(ids)) for ids in rollouts.ids], numbers),
        "grpo/ended": _sum([float(ended) for ended in rollouts.ended], numbers),
    }
    if len(rollouts.by_reward) > 1:
        for name, values in rollouts.by_reward.items():
            sums[f"grpo/reward_{metric_key(name)}"] = _sum(values, numbers)
    return sums


def _sum(values: Sequence[float], numbers: range) -> Tensor:
    """Scaled such that the mean over all completions is that over the scored ones."""
    return torch.tensor(mean_scored([values[number] for number in numbers]) * len(numbers))


def mean_scored(values: Sequence[float]) -> float:
    """The mean of those that are not NaN; 0 without any."""
    scored = [value for value in values if not math.isnan(value)]
    return sum(scored) / len(scored) if scored else 0.0


def nan_for_none(values: Sequence[float | None]) -> list[float]:
    """Scores with NaN where a reward failed."""
    return [float("nan") if value is None else value for value in values]


def metric_key(reward: str) -> str:
    """The name of a reward as a part of a metric's name."""
    return re.sub(r"\W+", "_", reward)


if __name__ == "__main__":
    demo = RolloutBatch(
        number=0, prompts=[1], ids=[[5], [7]], ended=[False, True], totals=[1.0, 0.0], failures=0,
        log_probs=[torch.zeros(1)] * 2, old_log_probs=[], by_reward={"exact": [1.0, 0.0]},
    )  # fmt: skip
    prompts, device = [[1], [2, 3]], torch.device("cpu")
    print(*completion_batches(demo, prompts, kind="grpo", batch_size=1, seq_len=8, device=device))
    print("=== 自测通过 ===")
