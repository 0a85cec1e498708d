"""Distillation: a student follows the distribution of its teacher."""

from __future__ import annotations

from lmm_tui.metrics.metric_name import MetricName
from lmm_tui.metrics.stages.stage_info import StageInfo, StageTrace

DISTILL = StageInfo(
    "distill",
    "to follow a teacher",
    {
        "distill/kl": MetricName("KL to teacher", "nats", better="lower"),
        "distill/ce": MetricName("cross entropy", "nats", better="lower"),
        "val/kl": MetricName("val KL", "nats", better="lower"),
    },
    chart="teacher",
    traces=(
        StageTrace("distill/kl", "KL", "blue"),
        StageTrace("distill/ce", "CE", "purple"),
        StageTrace("val/kl", "val KL", "orange", "marks"),
    ),
)


if __name__ == "__main__":
    print(DISTILL)
    print("=== 自测通过 ===")
