"""Distillation: a student learns from a teacher's whole distribution, not from one label alone.

The data is that of pretraining or of SFT; only the loss differs. The teacher is a model at rest:
a run, a checkpoint, a Hugging Face folder or a `.pth` with the student's vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lmm_tui.data.preparation.prepare import Progress
from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.data.turns import Turn
from lmm_tui.engine.checkpoints.weights import read_weights
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.distill_config import DistillConfig
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.loss import chunked_loss
from lmm_tui.engine.run.find_run import run_or_path
from lmm_tui.engine.stages.base import Losses, MicroBatch, Stage, mean_losses
from lmm_tui.engine.stages.likelihood import LikelihoodStage
from lmm_tui.engine.stages.pretrain import PretrainStage
from lmm_tui.engine.stages.sft import SftStage


class DistillStage(Stage):
    """Another stage's data, and a teacher's opinion of it."""

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        settings = config.distill
        if settings.teacher is None:
            raise ConfigError(
                "distill.teacher: nobody to learn from; name a run, a checkpoint, a Hugging Face "
                "folder or a .pth file"
            )
        teacher = read_weights(run_or_path(settings.teacher, config.runs_dir))
        if config.data.tokenizer is None and teacher.tokenizer is not None:
            # A student from scratch speaks as its teacher does.
            data = config.data.model_copy(update={"tokenizer": str(teacher.tokenizer)})
            config = config.model_copy(update={"data": data})
        source = PretrainStage if settings.data == "text" else SftStage
        self._source: LikelihoodStage[Any] = source(config, device, progress)
        self.tokenizer = self._source.tokenizer
        _check_vocabulary(teacher.tokenizer, teacher.shape.vocab_size, self.tokenizer, settings)
        self.references, self.notes = self._source.references, self._source.notes
        self.steps_per_epoch = self._source.steps_per_epoch
        self.prompts, self.specimen = self._source.prompts, self._source.specimen
        self.answers = self._source.answers
        self._settings = settings
        self._teacher = teacher.decoder()
        self._teacher.to(device).requires_grad_(False).eval()

    def micro_batches(self, step: int) -> list[MicroBatch]:
        return self._source.micro_batches(step)

    def loss(self, model: Decoder, batch: MicroBatch) -> Losses:
        with torch.no_grad():
            taught_BxTxD = batch.hidden(self._teacher)
        settings, teacher = self._settings, self._teacher
        # A model from elsewhere may have more rows than there are tokens: both are cut alike.
        size = min(len(model.head_weight), len(teacher.head_weight))

        def cost(hidden_NxD: Tensor, head_VxD: Tensor, labels_N: Tensor, rows_N: Tensor) -> Tensor:
            taught_NxD = taught_BxTxD.flatten(0, 1)[rows_N]
            logits_NxV = F.linear(hidden_NxD, head_VxD)[:, :size].float()
            taught_NxV = F.linear(taught_NxD, teacher.head_weight)[:, :size].float()
            kl = divergence(logits_NxV, taught_NxV, settings.divergence, settings.temperature).sum()
            nll = F.cross_entropy(logits_NxV, labels_N, reduction="sum")
            mixed = settings.ce_weight * nll + (1 - settings.ce_weight) * kl
            return torch.stack([mixed, kl, nll])

        mixed, kl, nll = chunked_loss(
            cost, batch.hidden(model), model.head_weight, batch.labels_BxT
        )
        return mixed, {"distill/kl": kl.detach(), "distill/ce": nll.detach()}

    def held_out(self, model: Decoder) -> dict[str, float]:
        return mean_losses(self, model, self._source.validation())

    def prompt_ids(self, text: str) -> list[int]:
        return self._source.prompt_ids(text)

    def turn_ids(self, turns: Sequence[Turn]) -> list[int]:
        return self._source.turn_ids(turns)

    @property
    def stop_ids(self) -> Collection[int]:
        return self._source.stop_ids


def divergence(logits_NxV: Tensor, taught_NxV: Tensor, kind: str, temperature: float) -> Tensor:
    """KL(teacher, student), or `reverse`, of softmax(logits / temperature), in nats, (N,).

    Times the square of the temperature, which keeps gradients of one size (arXiv 1503.02531).
    """
    log_p = torch.log_softmax(logits_NxV / temperature, -1)
    log_q = torch.log_softmax(taught_NxV / temperature, -1)
    if kind == "reverse":
        log_p, log_q = log_q, log_p
    return (log_q.exp() * (log_q - log_p)).sum(-1) * temperature**2


def _check_vocabulary(theirs: Any, rows: int, ours: Tokenizer, settings: DistillConfig) -> None:
    if theirs is not None and Tokenizer.load(theirs).fingerprint != ours.fingerprint:
        raise ConfigError(
            f"distill.teacher: {settings.teacher} has another vocabulary than the student; give "
            "the student the teacher's tokenizer (data.tokenizer), or take another teacher"
        )
    if rows < ours.vocab_size:
        raise ConfigError(
            f"distill.teacher: {settings.teacher} knows {rows} tokens, the student's tokenizer has "
            f"{ours.vocab_size}; take a teacher with the same vocabulary"
        )


if __name__ == "__main__":
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 9), torch.randn(3, 9)
    for kind in ("forward", "reverse"):
        found = divergence(student, teacher, kind, 2.0)
        print(kind, found.tolist())
        assert (found > 0).all() and divergence(student, student, kind, 2.0).abs().max() < 1e-6
    print("=== 自测通过 ===")
