"""A stage of one's own that fails on rank 1 of a group: `own.fault` says how."""

import os
import signal

import torch

from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.section import Section
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.stages.base import Losses, MicroBatch
from lmm_tui.engine.stages.pretrain import PretrainStage


class Fault(Section):
    fault: str = ""
    """memory: the first pass of rank 1 does not fit; nan: its loss in the second step is NaN;
    twice: it is killed in the middle of a run, and after a restart its memory is too small."""


class UnluckyStage(PretrainStage):
    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        super().__init__(config, device, progress)
        self._fault, self._passes = self.settings(config, Fault).fault, 0

    def loss(self, model: LanguageModel, batch: MicroBatch) -> Losses:
        fault = self._fault if self.ranks.rank == 1 else ""
        loss, sums = super().loss(model, batch)
        if torch.is_grad_enabled():
            self._passes += 1
        if fault == "memory" and self._passes == 1:
            raise torch.OutOfMemoryError("a test")
        if fault == "twice":
            passed = os.environ["TORCHELASTIC_RESTART_COUNT"], self._passes
            if passed == ("0", 4):
                os.kill(os.getpid(), signal.SIGKILL)
            if passed == ("1", 3):
                raise torch.OutOfMemoryError("a test")
        # The first pass is the trial; a rank has one micro-batch a step.
        return (loss * torch.nan, sums) if fault == "nan" and self._passes == 3 else (loss, sums)
