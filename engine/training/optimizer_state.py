"""The state of an optimiser by the names of its parameters, so that it does not depend on how many
ranks there are, nor on the order of parameters in groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lmm_tui.engine.parallel.spread import divided_like


def named_state(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> dict[str, Any]:
    """`state_dict` with names in the place of numbers; `names` of parameters by their `id`.

    Tensors are the optimiser's own; divided ones stay divided.
    """
    found = optimizer.state_dict()
    name_of = _names(optimizer, names)
    return {
        "state": {name_of[number]: state for number, state in found["state"].items()},
        "param_groups": [
            {**group, "params": [name_of[number] for number in group["params"]]}
            for group in found["param_groups"]
        ],
    }


def load_named(
    optimizer: torch.optim.Optimizer, saved: Mapping[str, Any], names: Mapping[int, str]
) -> None:
    """Take the state of a checkpoint, but the hyper-parameters from the configuration.

    Tensors in `saved` are whole. Checkpoints of format 2 have numbers in the place of names.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    name_of = _names(optimizer, names)
    state = {}
    for number, parameter in enumerate(parameters):
        found = saved["state"].get(name_of[number], saved["state"].get(number))
        if found is not None:
            state[number] = {
                key: divided_like(parameter, value) if isinstance(value, torch.Tensor) else value
                for key, value in found.items()
            }
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _names(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> list[str]:
    """By the number that a parameter has in `state_dict`."""
    return [names[id(p)] for group in optimizer.param_groups for p in group["params"]]


if __name__ == "__main__":
    weight = torch.nn.Parameter(torch.ones(2))
    known = {id(weight): "w"}
    first, second = (torch.optim.AdamW([weight], lr=lr) for lr in (1e-3, 5e-4))
    weight.sum().backward()
    first.step()
    for kept in (named_state(first, known), first.state_dict()):
        load_named(second, kept, known)
        print(second.state[weight]["exp_avg"], second.param_groups[0]["lr"])
    print("=== 自测通过 ===")
