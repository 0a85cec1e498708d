"""What a process that trains imports and builds first; one that is forked finds it done."""

from importlib import import_module

from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.run.environment import package_versions

for name in (
    "lmm_tui.cli.commands.launch",
    "lmm_tui.cli.commands.resume",
    "lmm_tui.cli.commands.train",
    "lmm_tui.cli.headless_ranks",
    "lmm_tui.cli.main",
    "lmm_tui.engine.instrument.script_run",
    "lmm_tui.engine.parallel.sharding",
    "lmm_tui.engine.run.history",
    "lmm_tui.engine.stages.pretrain",
    "lmm_tui.engine.training.rank_main",
    "lmm_tui.metrics.plots.page_layout",
    "lmm_tui.metrics.visualize",
    "matplotlib.backends.backend_agg",
    "matplotlib.dates",
    "plotext",
    "torch._dynamo",  # Every optimiser imports it.
    "torch.distributed",
):
    import_module(name)
resolve(assignments={"device": "cpu"})
package_versions()
