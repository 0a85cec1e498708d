"""Reward models: a number for an answer, higher for the better one of two."""

from __future__ import annotations

from lmm_tui.metrics.metric_name import MetricName
from lmm_tui.metrics.stages.stage_info import StageInfo, StageTrace

REWARD = StageInfo(
    "reward",
    "to score answers",
    {
        "reward/accuracy": MetricName("accuracy", better="higher"),
        "reward/margin": MetricName("reward margin", better="higher"),
        "reward/chosen": MetricName("chosen reward", better="higher"),
        "reward/rejected": MetricName("rejected reward", better="lower"),
        "val/accuracy": MetricName("val accuracy", better="higher"),
    },
    chart="preference",
    traces=(
        StageTrace("reward/accuracy", "accuracy", "blue"),
        StageTrace("reward/margin", "margin", "purple"),
        StageTrace("val/accuracy", "val accuracy", "orange", "marks"),
    ),
    summary=("reward/accuracy", "reward/margin"),
    step="{count} pairs",
    tokens_known=False,
)


if __name__ == "__main__":
    print(REWARD)
    print("=== 自测通过 ===")
