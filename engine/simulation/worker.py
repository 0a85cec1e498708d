"""The memory of one configuration on this machine, for a screen: TOML comes in, JSON goes out.

Runs in a process of its own, `python -m`, since it imports torch.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Mapping
from typing import Any

from lmm_tui.engine import device as devices
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_config import RunConfig
from lmm_tui.engine.simulation.simulated_step import Setup, simulate


def answer(text: str) -> dict[str, Any]:
    """`text` has the settings, and in `[planned]` what is known of the model."""
    table = tomllib.loads(text)
    known: Mapping[str, Any] = table.pop("planned", {})
    config: RunConfig = resolve(base=table)
    device = devices.resolve_device(config.device)
    found = simulate(
        Setup(
            config,
            config.model.shape(known.get("vocab_size")),
            devices.resolve_precision(device, config.train.precision),
            device=device.type,
            ranks=max(1, config.parallel.ranks),
            shard=config.parallel.shard,
        )
    )
    return {"memory": found.total, "peak": found.peak, "moment": found.moment}


if __name__ == "__main__":
    if sys.stdin.isatty():
        print(answer('[model]\npreset = "nano"\n'))
        print("=== 自测通过 ===")
    else:
        print(json.dumps(answer(sys.stdin.read())))
