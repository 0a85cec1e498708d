"""KTO: good answers above bad ones, without pairs."""

from __future__ import annotations

from lmm_tui.metrics.metric_name import MetricName
from lmm_tui.metrics.stages.stage_info import StageInfo, StageTrace

KTO = StageInfo(
    "kto",
    "to prefer good answers",
    {
        "kto/margin": MetricName("reward margin", better="higher"),
        "kto/accuracy": MetricName("accuracy", better="higher"),
        "kto/good_reward": MetricName("reward of good answers", better="higher"),
        "kto/bad_reward": MetricName("reward of bad answers", better="lower"),
        "kto/kl": MetricName("KL to reference", "nats"),
        "kto/good_share": MetricName("share of good answers"),
        "val/accuracy": MetricName("val accuracy", better="higher"),
    },
    chart="preference",
    traces=(
        StageTrace("kto/accuracy", "accuracy", "blue"),
        StageTrace("kto/margin", "margin", "purple"),
        StageTrace("val/accuracy", "val accuracy", "orange", "marks"),
    ),
    summary=("kto/accuracy", "kto/margin"),
    step="{count} answers",
    tokens_known=False,
)


if __name__ == "__main__":
    print(KTO)
    print("=== 自测通过 ===")
