"""The root of the configuration tree: `RunConfig` defines a run.

TOML files, command line flags and forms are all made from this tree: it is the one source of
names, types, ranges, help texts and defaults. It imports neither torch nor any device code.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, field_validator

from lmm_tui.engine.config.sections.data_config import DataConfig
from lmm_tui.engine.config.sections.distill_config import DistillConfig
from lmm_tui.engine.config.sections.dpo_config import DpoConfig
from lmm_tui.engine.config.sections.eval_config import EvalConfig
from lmm_tui.engine.config.sections.grpo_config import GrpoConfig
from lmm_tui.engine.config.sections.health_config import HealthConfig
from lmm_tui.engine.config.sections.kto_config import KtoConfig
from lmm_tui.engine.config.sections.log_config import LogConfig
from lmm_tui.engine.config.sections.lora_config import LoraConfig
from lmm_tui.engine.config.sections.model_config import ModelConfig
from lmm_tui.engine.config.sections.notify_config import NotifyConfig
from lmm_tui.engine.config.sections.optim_config import OptimConfig
from lmm_tui.engine.config.sections.parallel_config import ParallelConfig
from lmm_tui.engine.config.sections.probe_config import ProbeConfig
from lmm_tui.engine.config.sections.reward_config import RewardConfig
from lmm_tui.engine.config.sections.section import Section
from lmm_tui.engine.config.sections.train_config import TrainConfig
from lmm_tui.engine.run.run_dir import RUNS_DIR
from lmm_tui.message import Message
from lmm_tui.metrics.stages.built_in import BUILT_IN, info_of
from lmm_tui.named_code import STAGE_GROUP, installed_names, names_code

STAGES = tuple(BUILT_IN)

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?", re.ASCII)
_RUN_NAME = re.compile(r"[^\W_][\w.+-]{0,99}")


class RunConfig(Section):
    """Everything that defines a run."""

    stage: str = Field(
        "pretrain",
        description="What is trained: " + ", ".join(STAGES),
        json_schema_extra={"enum": [*STAGES], "open": True},
    )
    device: str = Field("auto", description="auto, cpu, mps, cuda or cuda:N; auto takes the best")
    name: str | None = Field(None, description="Name of the run; unset: stage, model and date")
    group: str = Field(
        "", max_length=100, description="Group that the run belongs to in lists, such as its sweep"
    )
    runs_dir: str = Field(RUNS_DIR, min_length=1, description="Folder that holds the runs")
    start_from: str | None = Field(
        None,
        min_length=1,
        title="start from",
        description="Weights to start from: a run, checkpoint, HF folder, .pth or .gguf file",
    )
    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    parallel: ParallelConfig = Field(default_factory=ParallelConfig)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    log: LogConfig = Field(default_factory=LogConfig)
    eval: EvalConfig = Field(default_factory=EvalConfig)
    health: HealthConfig = Field(default_factory=HealthConfig)
    notify: NotifyConfig = Field(default_factory=NotifyConfig)
    probe: ProbeConfig = Field(default_factory=ProbeConfig)
    lora: LoraConfig = Field(default_factory=LoraConfig)
    dpo: DpoConfig = Field(default_factory=DpoConfig)
    kto: KtoConfig = Field(default_factory=KtoConfig)
    reward: RewardConfig = Field(default_factory=RewardConfig)
    grpo: GrpoConfig = Field(default_factory=GrpoConfig)
    distill: DistillConfig = Field(default_factory=DistillConfig)
    own: dict[str, Any] = Field(
        default_factory=dict, description="Settings of a stage of your own, which checks them"
    )

    @field_validator("stage")
    @classmethod
    def _known_stage(cls, value: str) -> str:
        if value in BUILT_IN or names_code(value) or value in installed_names(STAGE_GROUP):
            return value
        raise ValueError(
            Message(
                "unknown stage {value!r}; choose {stages}, or module:Class or "
                "file.py:Class of your own",
                value=value,
                stages=[*STAGES],
            )
        )

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not _DEVICE.fullmatch(value):
            raise ValueError(
                Message(
                    "unknown device {value!r}; choose auto, cpu, mps, cuda or cuda:N", value=value
                )
            )
        return value

    @field_validator("name")
    @classmethod
    def _safe_name(cls, value: str | None) -> str | None:
        if value is not None and not _RUN_NAME.fullmatch(value):
            raise ValueError(
                Message(
                    "a run name starts with a letter or digit and has at most 100 "
                    "letters, digits, '.', '_', '+' or '-'"
                )
            )
        return value

    @property
    def peak_lr(self) -> float:
        """The highest learning rate of the schedule."""
        if self.optim.lr is not None:
            return self.optim.lr
        return 3e-3 * (96 / self.model.shape().hidden_size) ** 0.5

    @property
    def reads_text(self) -> bool:
        """Whether the data is plain text; else it is rows of conversations, pairs or prompts."""
        if self.stage == "distill":
            return self.distill.data == "text"
        return info_of(self.stage).text

    @property
    def stage_name(self) -> str:
        """The stage in a word, as in the name of a run."""
        return self.stage.rpartition(":")[2]

    def completed(self) -> RunConfig:
        """A copy with derived values filled in, as a run saves it."""
        optim = self.optim.model_copy(update={"lr": self.peak_lr})
        return self.model_copy(update={"optim": optim})

    @property
    def tokens_per_step(self) -> int:
        """An estimate; 0 for a stage whose sequence lengths depend on the data."""
        if not info_of(self.stage).tokens_known:
            return 0
        return self.train.batch_size * self.train.grad_accum * self.data.seq_len


if __name__ == "__main__":
    print(RunConfig(stage="sft").completed())
    assert RunConfig().tokens_per_step == 16 * 256
    print("=== 自测通过 ===")
