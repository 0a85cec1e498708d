"""What torch's own allocator held at most in two real steps on the CPU."""

import contextlib
from types import SimpleNamespace

import torch

from lmm_tui.engine.model.architecture import build
from lmm_tui.engine.model.layout import ALL
from lmm_tui.engine.parallel.ranks import Ranks
from lmm_tui.engine.parallel.spread import Spread
from lmm_tui.engine.stages.base import MicroBatch
from lmm_tui.engine.stages.likelihood import LikelihoodStage
from lmm_tui.engine.training.context import TrainContext
from lmm_tui.engine.training.optim import build_optimizers
from lmm_tui.engine.training.optimizer_step import OptimizerStep
from lmm_tui.metrics.step.grad_norms import GradNorms


def allocated(config, shape, precision):
    """Bytes, by torch's profiler."""
    rows = (config.train.batch_size, config.data.seq_len)

    def micro_batches(_):
        drawn = torch.randint(0, shape.vocab_size, (2 * config.train.grad_accum, *rows))
        return [
            MicroBatch(*pair, pair[0].numel(), pair[0].numel(), counted=ALL)
            for pair in drawn.split(2)
        ]

    nothing = contextlib.nullcontext
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        model = build(shape, None, 0)
        context = TrainContext(
            None,
            None,
            config,
            torch.device("cpu"),
            precision,
            SimpleNamespace(
                micro_batches=micro_batches,
                laid_out_ahead=False,
                loss=lambda *both: LikelihoodStage.loss(None, *both),
            ),
            model,
            build_optimizers(model, config.optim, config.peak_lr),
            torch.amp.GradScaler("cpu", enabled=False),
            SimpleNamespace(
                grads=GradNorms(model.named_parameters()),
                probe_forward=lambda *_: nothing(),
                probe_update=lambda *_: nothing(),
            ),
            Ranks(),
            Spread(model),
        )
        for _ in range(2):
            OptimizerStep(context).run(probing=False)
    now = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most
