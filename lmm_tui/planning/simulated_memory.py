"""The model and the memory of a configuration on this machine, found in a worker process."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

from lmm_tui.engine.config.config_file import to_toml
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.model.foreign_shape import ForeignShape
from lmm_tui.runs.worker_process import run_program
from lmm_tui.toml_text import parse_toml

_PROGRAM = """
import os, sys
os.nice(10)
from lmm_tui.planning.simulated_memory import main
main()
"""


@dataclass(frozen=True)
class Simulated:
    memory: int
    """Bytes that a rank takes at most in a step: of a card those of its tensors, on a CPU all of
    its process."""
    shape: ModelShape
    """Of the model that is trained, also where weights bring their own."""


def simulated(config: RunConfig) -> Simulated:
    """Blocks for seconds; raises WorkerError."""
    found = json.loads(run_program(_PROGRAM, [], stdin=to_toml(config)))
    kind = ForeignShape if "counted" in found["shape"] else ModelShape
    return Simulated(int(found["memory"]), kind(**found["shape"]))


def main() -> None:
    """The worker: settings as TOML come in, an object of JSON goes out."""
    from lmm_tui.errors import LmmError

    try:
        print(json.dumps(_answer(resolve(base=parse_toml(sys.stdin.read())))))
    except LmmError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def _answer(config: RunConfig) -> dict[str, Any]:
    from lmm_tui.engine import device as devices
    from lmm_tui.engine.simulation.simulated_step import Setup, simulate
    from lmm_tui.planning.planned_shape import beside_shapes, planned_shape
    from lmm_tui.planning.process_memory import beside_tensors

    device = devices.resolve_device(config.device)
    planned = planned_shape(config)
    found = simulate(
        Setup(
            config,
            planned.shape,
            devices.resolve_precision(device, config.train.precision),
            device=device.type,
            architecture=planned.architecture,
            beside=beside_shapes(config, planned.shape),
            ranks=max(1, config.parallel.ranks),
            shard=config.parallel.shard,
            recompute=config.train.recompute == "layers",
        )
    )
    process = beside_tensors(found.total) if device.type == "cpu" else 0
    return {"memory": found.total + process, "shape": asdict(planned.shape)}


if __name__ == "__main__":
    small = resolve(assignments={"model.num_layers": 1})
    print(found := _answer(small))
    assert found["memory"] > 16 * small.model.shape().parameters
    print("=== 自测通过 ===")
