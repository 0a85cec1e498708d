"""What each deep probe costs beside a step of `tiny`, next to what its help says.

In each round a plain step takes turns with one forward pass watched by each part alone, so that a
busy machine hits all alike; what is compared are medians of one process. Parts that look at a
forward pass are judged by what they add to it.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.observe import Stopwatch
from lmm_tui.engine.config.model_shape import PRESETS
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.config.sections.probe_config import ProbeConfig
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.loss import loss_sum
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.training.deep_probes import DeepProbes
from lmm_tui.engine.training.optim import build_optimizers

TITLE = "deep probes: cost of each beside a step of `tiny`, next to what its help states"

ROUNDS = 5


class Bench:
    """A step of `tiny` at the configuration's size, and what each part adds to one."""

    def __init__(self) -> None:
        config, shape = RunConfig(), PRESETS["tiny"]
        size = config.train.batch_size, config.data.seq_len
        ids_BxT = torch.randint(shape.vocab_size, size, generator=torch.Generator().manual_seed(0))
        count = ids_BxT.numel()
        self.batch = MicroBatch(ids_BxT, ids_BxT.roll(-1, 1), weight=count, tokens=count)
        self.model = Decoder(shape)
        self.model.init_weights(0)
        self.optimizers = build_optimizers(self.model, config.optim, config.peak_lr)
        self.logits_NxV = torch.randn(512, shape.vocab_size)

    def step(self) -> None:
        hidden_BxTxD = self.batch.hidden(self.model)
        total = loss_sum(hidden_BxTxD, self.model.head_weight, self.batch.labels_BxT)
        (total / self.batch.tokens).backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def watched_pass(self, watch: DeepProbes) -> None:
        with watch.record_forward():
            self.batch.hidden(self.model)
        watch.collect()

    def update(self, watch: DeepProbes) -> None:
        with watch.record_update():
            pass
        watch.collect()

    def noise(self, watch: DeepProbes) -> None:
        watch.record_first_gradient(1)
        watch.record_gradient(torch.ones(()), 2)
        watch.collect()

    def calibration(self, watch: DeepProbes) -> None:
        watch.record_logits(self.logits_NxV)
        watch.collect()


def run() -> None:
    bench, clock = Bench(), Stopwatch()
    none = DeepProbes(bench.model, ProbeConfig())
    watches = {
        part: DeepProbes(bench.model, ProbeConfig(**{part: True}))
        for part in ProbeConfig.model_fields
    }
    added: dict[str, Callable[[DeepProbes], None]] = {
        "updates": bench.update, "noise": bench.noise, "calibration": bench.calibration
    }  # fmt: skip
    extra: dict[str, list[float]] = {part: [] for part in watches}
    bench.step()
    bench.watched_pass(none)
    for _ in range(ROUNDS):
        with clock.timing("step"):
            bench.step()
        loss_sum(
            bench.batch.hidden(bench.model), bench.model.head_weight, bench.batch.labels_BxT
        ).backward()
        for part, watch in watches.items():
            if part in added:
                extra[part].append(_seconds(lambda w=watch, p=part: added[p](w)))
            else:
                plain = _seconds(lambda: bench.watched_pass(none))
                extra[part].append(_seconds(lambda w=watch: bench.watched_pass(w)) - plain)
    step_s, missed = clock.median("step"), []
    print(f"step of tiny {step_s * 1e3:.0f} ms; a probe's parts add to the step that is probed")
    for part, seconds in extra.items():
        cost = statistics.median(seconds) / step_s
        stated = _stated(part)
        missed += [part] if cost > stated else []
        print(f"{part:<12} stated {stated:.0%}  measured {cost:.2%}")
    above = ", ".join(missed) or "none"
    print(f"above what it states: {above}  {'FAIL' if missed else 'PASS'}")


def _seconds(what: Callable[[], None]) -> float:
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def _stated(part: str) -> float:
    """What the help of `probe.<part>` says."""
    found = re.search(r"(\d+) % of a step", ProbeConfig.model_fields[part].description or "")
    assert found is not None
    return int(found[1]) / 100


if __name__ == "__main__":
    run()
