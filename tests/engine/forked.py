"""Processes that have torch, and what optimisers import, from their start."""

import multiprocessing

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    ["engine.loop", "engine.host", "engine.stages.pretrain", "torch._dynamo"]
)
