"""Keeps the batch of a step whose loss or gradient stood out, so that a person can look at it.

Nothing is buffered for it: a stage's batches are a function of the step, so the batch is made
again, read once more by the model as it is now (about a third of a step, only after a spike), and
written in the background. Where it cannot be written there is one alert.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import torch

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.generation.generate import evaluating
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.model.loss import token_nll
from lmm_tui.engine.run.spike_files import (
    MOST_SEQUENCES,
    MOST_TOKENS,
    KeptSpike,
    SpikeText,
    write_spike,
)
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.stages.oom_split import split
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.message import Message, os_reason

RULES = ("loss_spike", "grad_spike")
"""Health rules whose alerts flag the batch; those of non-finite steps are flagged too."""

_Flag = tuple[int, str, str]
"""Step, rule, and why."""
_Row = tuple[int, int, float, list[int], list[float | None]]
"""Micro-batch, row, mean loss, token ids, and the loss of each (None where not counted)."""


class SpikeKeeper:
    """Spikes of one run; changes nothing that training depends on. `close` it."""

    is_for_leader = True

    def __init__(self, context: TrainContext) -> None:
        self._context = context
        self._flagged: list[_Flag] = []
        self._thread = ThreadPoolExecutor(1, "spikes")
        self._failed = False

    def flag(self, step: int, rule: str, what: str) -> None:
        """Have the batch of `step` kept; `what` says in words why."""
        self._flagged.append((step, rule, what))

    def decide(self) -> list[_Flag] | None:
        flagged, self._flagged = self._flagged, []
        return flagged if flagged and self._context.stage.deterministic else None

    def act(self, due: list[_Flag]) -> None:
        """Keep the batches that were flagged; of several flags of a step the last."""
        for step, rule, what in {flag[0]: flag for flag in due}.values():
            with self._context.activity(Message("keeping the batch of step {step}", step=step)):
                self._keep(step, rule, what)

    def _keep(self, step: int, rule: str, what: str) -> None:
        """Keep the sequences of `step` with the highest loss."""
        context, stage = self._context, self._context.stage

        def worst(model: LanguageModel) -> list[_Row]:
            micro_batches = split(stage.micro_batches(step - 1), context.parts)
            rows: list[_Row] = []
            with torch.no_grad(), evaluating(model), context.autocast():
                for number, batch in enumerate(micro_batches):
                    rows += _rows(number, batch, model)
            # NaN first.
            rows.sort(key=lambda row: row[2] if row[2] == row[2] else float("inf"), reverse=True)
            return rows[:MOST_SEQUENCES]

        most = context.by_leader(worst)
        if context.ranks.leads:
            self._thread.submit(self._write, step, rule, what, stage.tokenizer, most)

    def close(self) -> None:
        """Wait for what is being written."""
        self._thread.shutdown()

    def _write(
        self, step: int, rule: str, what: str, tokenizer: Tokenizer, rows: list[_Row]
    ) -> None:
        texts = [
            SpikeText(
                number, row, loss, tokenizer.decode(ids), ids, tokenizer.token_strings(ids), losses
            )
            for number, row, loss, ids, losses in rows
        ]
        try:
            path = write_spike(
                self._context.run_dir.spikes, KeptSpike(step, time.time(), rule, what, texts)
            )
        except OSError as error:
            if not self._failed:
                text = Message(
                    "the batch of step {step} could not be kept ({error}); make room",
                    step=step,
                    error=os_reason(error),
                )
                self._context.events.write("alert", text, step=step, level="warning")
            self._failed = True
            return
        self._failed = False
        text = Message(
            "the batch of step {step} is kept: lmm-tui spikes, or B in the cockpit", step=step
        )
        self._context.events.write("spike", text, step=step, path=str(path))


def _rows(number: int, batch: MicroBatch, model: LanguageModel) -> list[_Row]:
    """The rows of a micro-batch with their losses, each moved to the token it belongs to."""
    nll_BxT = token_nll(*model.projection(batch.hidden(model)), batch.labels_BxT, model.softcap)
    counted_BxT = batch.labels_BxT >= 0
    mean_B = nll_BxT.sum(1) / counted_BxT.sum(1).clamp_min(1)
    columns = (mean_B, batch.ids_BxT, nll_BxT, counted_BxT)
    rows = []
    for row, (mean, ids, nll, counted) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        losses = [
            round(loss, 4) if is_counted else None
            for loss, is_counted in zip(nll, counted, strict=True)
        ]
        # The loss at a position is that of the next token, and the first token has none.
        rows.append((number, row, mean, ids[:MOST_TOKENS], [None, *losses[:-1]][:MOST_TOKENS]))
    return rows


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.model.decoder import Decoder

    tiny = Decoder(ModelShape(64, 16, 2, 2, 1, 8, 32))
    tiny.init_weights(0)
    ids = torch.arange(8).view(2, 4)
    for spike_row in _rows(0, MicroBatch(ids, ids, weight=8, tokens=8), tiny):
        print(spike_row)
    print("=== 自测通过 ===")
