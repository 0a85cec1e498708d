"""Group relative policy optimisation: answers that earn more than others to the same prompt."""

from __future__ import annotations

from lmm_tui.metrics.metric_name import MetricName
from lmm_tui.metrics.stages.stage_info import StageInfo, StageTrace

GRPO = StageInfo(
    "grpo",
    "to earn rewards",
    {
        "grpo/reward": MetricName("reward", better="higher"),
        "grpo/reward_spread": MetricName("reward spread"),
        "grpo/flat_groups": MetricName("flat groups", better="lower"),
        "grpo/kl": MetricName("KL to reference", "nats"),
        "grpo/entropy": MetricName("policy entropy", "nats"),
        "grpo/length": MetricName("answer length", "tokens"),
        "grpo/ended": MetricName("ended by itself", better="higher"),
        "grpo/clipped": MetricName("clipped share"),
        "grpo/logp_gap": MetricName("log p gap to rollout", "nats", better="lower"),
        "val/reward": MetricName("val reward", better="higher"),
    },
    chart="reward",
    traces=(
        StageTrace("grpo/reward", "mean", "blue"),
        StageTrace("grpo/flat_groups", "flat groups", "purple"),
        StageTrace("val/reward", "val", "orange", "marks"),
    ),
    # Its loss is about zero at every step: its gradient is what counts.
    chart_first=True,
    summary=("grpo/reward",),
    step="{count} prompts, {answers} answers each",
    step_values={"answers": "grpo.group"},
    tokens_known=False,
)


if __name__ == "__main__":
    print(GRPO)
    print("=== 自测通过 ===")
