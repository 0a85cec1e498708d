"""Distillation: a student learns the next-token distribution of a teacher, not one label alone.

The data is that of pretraining or of SFT; only the loss differs. The teacher is a frozen model:
a run, a checkpoint, a Hugging Face folder or a `.pth` with the student's vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
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
from lmm_tui.engine.model.language_model import LanguageModel, capped
from lmm_tui.engine.model.loss import chunked_loss
from lmm_tui.engine.run.find_run import run_or_path
from lmm_tui.engine.stages.base import Losses, MicroBatch, Stage
from lmm_tui.engine.stages.likelihood import LikelihoodStage
from lmm_tui.engine.stages.pretrain import PretrainStage
from lmm_tui.engine.stages.sft import SftStage
from lmm_tui.metrics.stages.distill import DISTILL


class DistillStage(Stage):
    """The data of another stage, with the divergence from a teacher as the loss."""

    info = DISTILL
    recordable = True
    shapes_vary = False
    laid_out_ahead = True

    def __init__(self, config: RunConfig, device: torch.device, progress: Progress) -> None:
        settings = config.distill
        if settings.teacher is None:
            raise ConfigError(
                "distill.teacher: nobody to learn from; name a run, a checkpoint, a Hugging Face "
                "folder, a .pth or a .gguf file"
            )
        teacher = read_weights(run_or_path(settings.teacher, config.runs_dir))
        _check_context(teacher.shape.max_positions, config.data.seq_len, settings)
        if config.data.tokenizer is None and teacher.tokenizer is not None:
            # A student from scratch takes its teacher's tokenizer.
            data = config.data.model_copy(update={"tokenizer": str(teacher.tokenizer)})
            config = config.model_copy(update={"data": data})
        source = PretrainStage if settings.data == "text" else SftStage
        self._source: LikelihoodStage[Any] = source(config, device, progress)
        self.recordable = self.recordable and self._source.recordable
        self.tokenizer = self._source.tokenizer
        self.data_fingerprint = self._source.data_fingerprint
        self.cache_entries = self._source.cache_entries
        _check_vocabulary(teacher.tokenizer, teacher.shape.vocab_size, self.tokenizer, settings)
        self.baselines, self.warnings = self._source.baselines, self._source.warnings
        self.warnings += teacher.notes
        self.notes = self._source.notes
        self.steps_per_epoch = self._source.steps_per_epoch
        self.prompts, self.probe_sequence = self._source.prompts, self._source.probe_sequence
        self.is_chat = self._source.is_chat
        self._settings = settings
        self._teacher = teacher.model()
        self._teacher.to(device).requires_grad_(False).eval()

    def micro_batches(self, step: int) -> list[MicroBatch]:
        return self._source.micro_batches(step)

    def loss(self, model: LanguageModel, batch: MicroBatch) -> Losses:
        with torch.no_grad():
            teacher_BxTxD = batch.hidden(self._teacher)
        settings, teacher = self._settings, self._teacher
        # Models from elsewhere may have more rows than there are tokens: both are cut to one size.
        size = min(len(model.head_weight), len(teacher.head_weight))

        def cost(hidden_NxD: Tensor, head_VxD: Tensor, labels_N: Tensor, rows_N: Tensor) -> Tensor:
            teacher_NxD = teacher_BxTxD.flatten(0, 1)[rows_N]
            logits_NxV = capped(F.linear(hidden_NxD, head_VxD)[:, :size].float(), model.softcap)
            teacher_NxV = teacher.head(teacher_NxD)[:, :size].float()
            kl = divergence(
                logits_NxV, teacher_NxV, settings.divergence, settings.temperature
            ).sum()
            nll = F.cross_entropy(logits_NxV, labels_N, reduction="sum")
            mixed = settings.ce_weight * nll + (1 - settings.ce_weight) * kl
            return torch.stack([mixed, kl, nll])

        projection = model.projection(batch.hidden(model))
        mixed, kl, nll = chunked_loss(cost, *projection, batch.labels_BxT, batch.counted)
        return mixed, {"distill/kl": kl.detach(), "distill/ce": nll.detach()}

    def validate(self, model: LanguageModel) -> dict[str, float]:
        return self._source.validation_losses(model, self)

    def prompt_ids(self, text: str) -> list[int]:
        return self._source.prompt_ids(text)

    def turn_ids(self, turns: Sequence[Turn]) -> list[int]:
        return self._source.turn_ids(turns)

    @property
    def stop_ids(self) -> Collection[int]:
        return self._source.stop_ids


def divergence(logits_NxV: Tensor, teacher_NxV: Tensor, kind: str, temperature: float) -> Tensor:
    """KL(teacher, student), or with `reverse` KL(student, teacher), in nats, (N,).

    Of softmax(logits / temperature), times the square of the temperature, which keeps the size of
    gradients (arXiv 1503.02531).
    """
    log_p = torch.log_softmax(logits_NxV / temperature, -1)
    log_q = torch.log_softmax(teacher_NxV / temperature, -1)
    if kind == "reverse":
        log_p, log_q = log_q, log_p
    return (log_q.exp() * (log_q - log_p)).sum(-1) * temperature**2


def _check_context(positions: int, seq_len: int, settings: DistillConfig) -> None:
    if positions < seq_len:
        raise ConfigError(
            "distill.teacher: {teacher} has a context of {positions} tokens, "
            "data.seq_len is {seq_len}; lower it, or take another teacher",
            teacher=settings.teacher,
            positions=positions,
            seq_len=seq_len,
        )


def _check_vocabulary(
    tokenizer: Path | None, rows: int, own: Tokenizer, settings: DistillConfig
) -> None:
    """Raise ConfigError unless a teacher with this tokenizer and embedding fits the student."""
    if tokenizer is not None and Tokenizer.load(tokenizer).fingerprint != own.fingerprint:
        raise ConfigError(
            "distill.teacher: {teacher} has another vocabulary than the student; "
            "give the student the teacher's tokenizer (data.tokenizer), or take "
            "another teacher",
            teacher=settings.teacher,
        )
    if rows < own.vocab_size:
        raise ConfigError(
            "distill.teacher: {teacher} knows {rows} tokens, the student's "
            "tokenizer has {vocab_size}; take a teacher with the same vocabulary",
            teacher=settings.teacher,
            rows=rows,
            vocab_size=own.vocab_size,
        )


if __name__ == "__main__":
    student, teacher = torch.randn(3, 9), torch.randn(3, 9)
    for kind in ("forward", "reverse"):
        print(kind, divergence(student, teacher, kind, 2.0))
    print("=== 自测通过 ===")
