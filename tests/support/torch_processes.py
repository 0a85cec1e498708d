"""Processes that have torch, and what optimisers import, from their start."""

import multiprocessing

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    [
        "lmm_tui.engine.training.loop",
        "lmm_tui.engine.training.run_host",
        "lmm_tui.engine.stages.pretrain",
        "torch._dynamo",
    ]
)
