"""Pretraining: next-token loss on plain text."""

from __future__ import annotations

from lmm_tui.metrics.stages.stage_info import StageInfo

PRETRAIN = StageInfo("pretrain", "to continue text", likelihood=True, text=True)


if __name__ == "__main__":
    print(PRETRAIN)
    print("=== 自测通过 ===")
