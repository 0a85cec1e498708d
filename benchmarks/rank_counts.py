"""Counts the collectives of one training step on two ranks, and the bytes that they send.

`counts` starts the ranks; each runs this file, and rank 0 leaves what it has counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.sections.optim_config import OptimConfig
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.parallel.ranks import Ranks
from lmm_tui.engine.parallel.spreading import spread
from lmm_tui.engine.training.optim import build_optimizers
from lmm_tui.engine.training.step_sums import Signals, sum_step
from lmm_tui.metrics.step.grad_norms import GradNorms

_SHAPE = ModelShape(640, 64, 4, 4, 2, 16, 128)
MOST = {
    # One all-reduce a bucket of gradients, and the vector of a step.
    "replicated, AdamW": 4,
    "replicated, Muon": 4,
    # Of each layer and of the rest: gathered for the forward and for the backward pass, gradients
    # scattered; the vector.
    "divided, AdamW": 3 * (_SHAPE.num_layers + 1) + 1,
    # Two more for each of the shapes that hidden matrices have.
    "divided, Muon": 3 * (_SHAPE.num_layers + 1) + 1 + 2 * 4,
}


class _Sent(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.collectives, self.bytes = 0, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.namespace == "c10d":
            self.collectives += 1
            tensors = [x for x in _pytree.tree_leaves(args) if isinstance(x, torch.Tensor)]
            self.bytes += max((tensor.nbytes for tensor in tensors), default=0)
        return func(*args, **(kwargs or {}))


def counts(folder: Path) -> dict[str, dict[str, int]]:
    """By how the model stands and its optimiser: `collectives` and `bytes` of a step."""
    told = folder / "counts.json"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([*command, "--nproc-per-node", "2", __file__, str(told)], env=env, check=True)
    found: dict[str, dict[str, int]] = json.loads(told.read_text())
    return found


def _step_counted(ranks: Ranks, shard: str, optimizer: str) -> _Sent:
    model = Decoder(_SHAPE)
    model.init_weights(0)
    standing = spread(model, ranks, shard)
    optimizers = build_optimizers(model, OptimConfig(name=optimizer), 1e-3)
    grads = GradNorms(model.named_parameters())
    ids = torch.arange(64).view(2, 32)

    def work(model: LanguageModel) -> torch.Tensor:
        found: torch.Tensor = model.backbone(ids).float().square().mean()
        return found + model.head_weight.sum()

    sent = _Sent()
    for counted in (False, True):
        sent = _Sent()
        with sent:
            standing(work).backward()
            squares = grads.squares()
            sums = sum_step(ranks, torch.ones(()), {}, Signals().tensor(ranks.leads), squares)
            grads.adopt(sums.squares_L)
            grads.clip(1.0)
            for one in optimizers:
                one.step()
                one.zero_grad()
        assert sent.collectives or not counted
    return sent


def _main(told: Path) -> None:
    ranks = Ranks.join("cpu")
    found = {}
    for way in MOST:
        stands, optimizer = way.split(", ")
        sent = _step_counted(ranks, "none" if stands == "replicated" else "all", optimizer.lower())
        found[way] = {"collectives": sent.collectives, "bytes": sent.bytes}
    if ranks.leads:
        told.write_text(json.dumps(found))
    ranks.leave()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _main(Path(sys.argv[1]))
    else:
        print(MOST)
        print("=== 自测通过 ===")
