"""Keeps the batch of a step whose loss or gradient stood out, so that somebody can look at it.

A stage's batches are a function of the step, so nothing is held on the way: the batch is made
again, read once more by the model as it is now (about a third of a step, only after a spike), and
written by a thread, which training never waits for. What cannot be written is one alert.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import torch

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.engine.generation.generate import evaluating
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.loss import token_nll
from lmm_tui.engine.run.events import EventLog
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.spike_files import (
    MOST_SEQUENCES,
    MOST_TOKENS,
    KeptSpike,
    SpikeText,
    write_spike,
)
from lmm_tui.engine.stages.base import MicroBatch

RULES = ("loss_spike", "grad_spike")
"""Rules of health whose alert has the batch kept; steps that are no numbers are kept too."""

_Found = tuple[int, int, float, list[int], list[float | None]]


class SpikeKeeper:
    """Spikes of one run; call it in the training thread, and `close` it."""

    def __init__(self, run_dir: RunDir, tokenizer: Tokenizer, events: EventLog) -> None:
        self._folder = run_dir.spikes
        self._tokenizer = tokenizer
        self._events = events
        self._thread = ThreadPoolExecutor(1, "spikes")
        self._failed = False

    def keep(
        self,
        step: int,
        rule: str,
        what: str,
        model: Decoder,
        micro_batches: Sequence[MicroBatch],
        precision: AbstractContextManager[object],
    ) -> None:
        """Keep the sequences of `step` that the model finds worst; `precision` is its autocast."""
        found: list[_Found] = []
        with torch.no_grad(), evaluating(model), precision:
            for number, batch in enumerate(micro_batches):
                found += _read(number, batch, model)
        # What is no number is worst of all.
        found.sort(key=lambda one: one[2] if one[2] == one[2] else float("inf"), reverse=True)
        self._thread.submit(self._write, step, rule, what, found[:MOST_SEQUENCES])

    def close(self) -> None:
        """Wait for what is being written."""
        self._thread.shutdown()

    def _write(self, step: int, rule: str, what: str, found: list[_Found]) -> None:
        texts = [
            SpikeText(
                number, row, loss, self._tokenizer.decode(ids), ids,
                self._tokenizer.token_strings(ids), losses,
            )
            for number, row, loss, ids, losses in found
        ]  # fmt: skip
        try:
            path = write_spike(self._folder, KeptSpike(step, time.time(), rule, what, texts))
        except OSError as error:
            if not self._failed:
                text = f"the batch of step {step} could not be kept ({error.strerror}); make room"
                self._events.write("alert", text, step=step, level="warning")
            self._failed = True
            return
        self._failed = False
        text = f"the batch of step {step} is kept: lmm-tui spikes, or i in the cockpit"
        self._events.write("spike", text, step=step, path=str(path))


def _read(number: int, batch: MicroBatch, model: Decoder) -> list[_Found]:
    """The rows of a micro-batch with their losses, each moved to the token that it is of."""
    nll_BxT = token_nll(batch.hidden(model), model.head_weight, batch.labels_BxT)
    counted_BxT = batch.labels_BxT >= 0
    mean_B = nll_BxT.sum(1) / counted_BxT.sum(1).clamp_min(1)
    rows = zip(
        mean_B.tolist(),
        batch.ids_BxT.tolist(),
        nll_BxT.tolist(),
        counted_BxT.tolist(),
        strict=True,
    )
    found = []
    for row, (mean, ids, nll, counted) in enumerate(rows):
        losses = [round(loss, 4) if is_counted else None
                  for loss, is_counted in zip(nll, counted, strict=True)]  # fmt: skip
        cut = slice(MOST_TOKENS)
        found.append((number, row, mean, ids[cut], [None, *losses[:-1]][cut]))
    return found


if __name__ == "__main__":
    import tempfile
    from contextlib import nullcontext

    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.run.spike_files import read_spike

    words = Tokenizer.train(["the cat sat on the mat"] * 20, 270)
    decoder = Decoder(ModelShape(words.vocab_size, 16, 2, 2, 1, 8, 32))
    decoder.init_weights(0)
    ids_BxT = torch.tensor([words.encode("the cat sat on the mat")])
    batch = MicroBatch(ids_BxT, ids_BxT.roll(-1, 1), ids_BxT.numel(), ids_BxT.numel())
    with tempfile.TemporaryDirectory() as place:
        run_dir = RunDir(place)
        log = EventLog(run_dir)
        keeper = SpikeKeeper(run_dir, words, log)
        keeper.keep(7, "loss_spike", "loss rose", decoder, [batch], nullcontext())
        keeper.close()
        spike = read_spike(run_dir.spikes, 7)
        print(spike)
        assert spike.sequences[0].text == "the cat sat on the mat"
        log.close()
    print("=== 自测通过 ===")
