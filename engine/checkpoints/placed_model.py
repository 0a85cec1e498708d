"""The model of weights on a device, in the arithmetic of their run: for chat, the questions of a
recipe, and lm-eval. What is asked of it is computed within `autocast`."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch

from lmm_tui.engine.checkpoints.checked_weights import Weights
from lmm_tui.engine.device import (
    DeviceError,
    Precision,
    autocast,
    empty_cache,
    is_out_of_memory,
    resolve_device,
    resolve_precision,
    set_matmul_precision,
)
from lmm_tui.engine.model.language_model import LanguageModel

CPU = torch.device("cpu")


@dataclass(frozen=True)
class PlacedModel:
    """In evaluation mode."""

    model: LanguageModel
    device: torch.device
    precision: Precision

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        return autocast(self.device, self.precision)

    def __str__(self) -> str:
        """As `cuda:0 bf16`."""
        return f"{self.device} {self.precision}"


def place(weights: Weights, device: torch.device) -> PlacedModel:
    """The weights on this device, in the precision of their run."""
    precision = inference_precision(device, weights.trained_precision)
    set_matmul_precision(device, precision)
    return PlacedModel(weights.model().to(device).eval(), device, precision)


def place_as_trained(weights: Weights, *, busy: bool = False) -> PlacedModel:
    """The weights on the device of their run.

    On the CPU where that device is not here or has no room, and while it is `busy` with training,
    which must not run out of memory for a question.
    """
    device = CPU if busy else device_of_run(weights.trained_device)
    try:
        return place(weights, device)
    except Exception as error:
        if device == CPU or not is_out_of_memory(error):
            raise
    empty_cache(device)
    return place(weights, CPU)


def device_of_run(name: str | None) -> torch.device:
    """The device that a run's settings name; the CPU where it is not here, and for weights from
    elsewhere."""
    try:
        return CPU if name is None else resolve_device(name)
    except DeviceError:
        return CPU


def inference_precision(device: torch.device, trained: str | None) -> Precision:
    """That of the run's steps and validation; fp32 on a CPU, where lower precision
    gains nothing, for weights from elsewhere, and on a GPU without that of the run."""
    if trained is None or device.type == "cpu":
        return "fp32"
    try:
        return resolve_precision(device, trained)
    except DeviceError:
        return "fp32"


if __name__ == "__main__":
    from pathlib import Path

    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.model.decoder import Decoder

    tiny = Decoder(ModelShape(64, 32, 2, 4, 2, 8, 64))
    tiny.init_weights(0)
    placed = place_as_trained(Weights(tiny.shape, tiny.state_dict(), None, Path("tiny")))
    with placed.autocast():
        print(placed, placed.model(torch.arange(4).unsqueeze(0)).dtype)
    assert str(placed) == "cpu fp32"
    print("=== 自测通过 ===")
