"""The stages of this package, by name."""

from __future__ import annotations

from collections.abc import Mapping

from lmm_tui.metrics.metric_name import MetricName
from lmm_tui.metrics.stages.distill import DISTILL
from lmm_tui.metrics.stages.dpo import DPO
from lmm_tui.metrics.stages.grpo import GRPO
from lmm_tui.metrics.stages.kto import KTO
from lmm_tui.metrics.stages.pretrain import PRETRAIN
from lmm_tui.metrics.stages.reward import REWARD
from lmm_tui.metrics.stages.sft import SFT
from lmm_tui.metrics.stages.stage_info import StageInfo

BUILT_IN: Mapping[str, StageInfo] = {
    info.name: info for info in (PRETRAIN, SFT, DPO, KTO, REWARD, GRPO, DISTILL)
}
STAGED: Mapping[str, MetricName] = {
    metric: name for info in BUILT_IN.values() for metric, name in info.metrics.items()
}
"""Metrics of single stages."""


def info_of(stage: str) -> StageInfo:
    """Of a stage of this package, or the little that is known of one of another."""
    return BUILT_IN.get(stage) or StageInfo(stage)


if __name__ == "__main__":
    print(*BUILT_IN, len(STAGED), info_of("mine").chart)
    print("=== 自测通过 ===")
