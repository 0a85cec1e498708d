"""Chat, recipes and lm-eval compute where and as the run did; a run that trains is left alone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lmm_tui.engine import device as devices
from lmm_tui.engine.checkpoints.checked_weights import Weights
from lmm_tui.engine.checkpoints.placed_model import (
    device_of_run,
    inference_precision,
    place,
    place_as_trained,
)
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.model.decoder import Decoder

CUDA, MPS, CPU = torch.device("cuda", 0), torch.device("mps"), torch.device("cpu")


@pytest.mark.parametrize(
    ("device", "trained", "has_bf16", "expected"),
    [
        (CPU, "bf16", True, "fp32"),  # As before: nothing is gained there.
        (CUDA, "auto", True, "bf16"),
        (CUDA, "auto", False, "fp16"),
        (CUDA, "fp16", True, "fp16"),
        (CUDA, "fp32", True, "fp32"),
        (CUDA, "bf16", False, "fp32"),  # Trained on a newer card.
        (CUDA, None, True, "fp32"),  # Weights that no run of ours trained.
        (MPS, "fp16", True, "fp32"),
    ],
)
def test_precision_is_that_of_the_run_on_this_device(
    monkeypatch: pytest.MonkeyPatch,
    device: torch.device,
    trained: str | None,
    has_bf16: bool,
    expected: str,
) -> None:
    monkeypatch.setattr(devices, "_cuda_has_bf16", lambda _: has_bf16)
    assert inference_precision(device, trained) == expected


@pytest.mark.parametrize(
    ("name", "present", "expected"),
    [
        ("auto", [CUDA, CPU], CUDA),
        ("auto", [CPU], CPU),
        ("cuda", [CUDA, CPU], CUDA),
        ("cuda:3", [CUDA, CPU], CPU),  # Trained on a machine with more of them.
        ("mps", [MPS, CPU], MPS),
        ("cpu", [CUDA, CPU], CPU),
        (None, [CUDA, CPU], CPU),  # Weights that no run of ours trained.
    ],
)
def test_the_device_is_that_of_the_run_where_it_is_here(
    monkeypatch: pytest.MonkeyPatch,
    name: str | None,
    present: list[torch.device],
    expected: torch.device,
) -> None:
    monkeypatch.setattr(devices, "_devices", lambda: present)
    assert device_of_run(name) == expected


def weights(device: str, precision: str) -> Weights:
    model = Decoder(ModelShape(64, 32, 2, 4, 2, 8, 64))
    model.init_weights(0)
    return Weights(
        model.shape,
        model.state_dict(),
        None,
        Path("tiny"),
        trained_precision=precision,
        trained_device=device,
    )


def test_on_the_cpu_it_computes_in_fp32_as_the_weights_are() -> None:
    placed = place_as_trained(weights("cpu", "bf16"))
    with placed.autocast():
        logits = placed.model(torch.arange(6).unsqueeze(0))
    assert str(placed) == "cpu fp32" and not placed.model.training
    model = Decoder(placed.model.shape)
    model.init_weights(0)
    assert torch.equal(logits, model(torch.arange(6).unsqueeze(0)))


def test_a_device_that_is_busy_or_full_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` stands for the GPU: it is a device whose model has no numbers."""
    monkeypatch.setattr(devices, "_devices", lambda: [torch.device("meta"), CPU])
    known = weights("meta", "bf16")
    placed = place_as_trained(known)
    assert (str(placed), placed.model.head_weight.is_meta) == ("meta bf16", True)
    assert str(place_as_trained(known, busy=True)) == "cpu fp32"
    moved = torch.nn.Module.to

    def full(module: torch.nn.Module, device: torch.device, **more: Any) -> torch.nn.Module:
        if device.type == "meta":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return moved(module, device, **more)

    monkeypatch.setattr(torch.nn.Module, "to", full)
    placed = place_as_trained(known)
    assert (str(placed), placed.model.head_weight.is_cpu) == ("cpu fp32", True)
    with pytest.raises(torch.OutOfMemoryError):  # lm-eval was told where: it is not slower unasked.
        place(known, torch.device("meta"))
