"""Supervised fine-tuning: next-token loss on the assistant's turns."""

from __future__ import annotations

from lmm_tui.metrics.metric_name import MetricName
from lmm_tui.metrics.stages.stage_info import StageInfo

SFT = StageInfo(
    "sft",
    "to answer",
    {"val/exact": MetricName("exact answers", better="higher")},
    likelihood=True,
)


if __name__ == "__main__":
    print(SFT)
    print("=== 自测通过 ===")
