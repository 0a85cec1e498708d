"""Direct preference optimisation: better answers above worse ones."""

from __future__ import annotations

from lmm_tui.metrics.metric_name import MetricName
from lmm_tui.metrics.stages.stage_info import StageInfo, StageTrace

DPO = StageInfo(
    "dpo",
    "to prefer better answers",
    {
        "dpo/margin": MetricName("reward margin", better="higher"),
        "dpo/accuracy": MetricName("accuracy", better="higher"),
        "dpo/chosen_reward": MetricName("chosen reward", better="higher"),
        "dpo/rejected_reward": MetricName("rejected reward", better="lower"),
        "dpo/chosen_logp": MetricName("chosen log p", "nats", better="higher"),
        "dpo/rejected_logp": MetricName("rejected log p", "nats"),
        "val/accuracy": MetricName("val accuracy", better="higher"),
    },
    chart="preference",
    traces=(
        StageTrace("dpo/accuracy", "accuracy", "blue"),
        StageTrace("dpo/margin", "margin", "green"),
        StageTrace("val/accuracy", "val accuracy", "orange", "marks"),
    ),
    summary=("dpo/accuracy", "dpo/margin"),
    step="{count} pairs",
    tokens_known=False,
)


if __name__ == "__main__":
    print(DPO)
    print("=== 自测通过 ===")
