"""Device rules, on whatever this machine has."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lmm_tui.engine import device as devices
from lmm_tui.engine.device import DeviceError

CPU = torch.device("cpu")


def test_the_best_device_is_what_auto_takes() -> None:
    best = devices.get_best_device()
    assert devices.resolve_device("auto") == best
    assert devices.get_device_type() == best.type
    assert devices.describe_devices()[0].name == str(best)
    assert devices.resolve_device("cpu") == CPU


def test_a_device_that_is_not_here_is_refused_with_those_that_are() -> None:
    with pytest.raises(DeviceError, match=r"'cuda:99' is not here; this machine has .*cpu"):
        devices.resolve_device("cuda:99")


def test_precision_follows_the_device() -> None:
    assert devices.resolve_precision(CPU, "auto") == "fp32"
    assert devices.resolve_precision(CPU, "bf16") == "bf16"
    with pytest.raises(DeviceError, match="fp16 needs a CUDA device"):
        devices.resolve_precision(CPU, "fp16")
    assert not devices.make_scaler(CPU, "fp32").is_enabled()


def test_autocast_is_for_low_precision_only() -> None:
    a = torch.ones(2, 2)
    with devices.autocast(CPU, "fp32"):
        assert (a @ a).dtype == torch.float32
    with devices.autocast(CPU, "bf16"):
        assert (a @ a).dtype == torch.bfloat16


def draw() -> tuple[float, ...]:
    return (
        random.random(),
        random.gauss(0, 1),
        np.random.rand(),
        np.random.randn(),
        torch.rand(()).item(),
        torch.randn(()).item(),
    )


def test_random_states_come_back_to_the_bit_through_a_file(tmp_path: Path) -> None:
    devices.seed_all(7)
    draw()  # Leaves half of a pair of normal numbers behind in Python's and numpy's generators.
    save_file(devices.rng_state(), tmp_path / "rng.safetensors")
    first = draw()
    devices.restore_rng(load_file(tmp_path / "rng.safetensors"))
    assert draw() == first


def test_equal_seeds_give_equal_numbers() -> None:
    devices.seed_all(3)
    first = draw()
    devices.seed_all(3)
    assert draw() == first


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error: Exception, is_it: bool) -> None:
    assert devices.is_out_of_memory(error) is is_it


def test_the_peak_of_a_cpu_is_measured_once() -> None:
    peak = devices.peak_flops(CPU, "fp32")
    assert peak > 1e9
    assert devices.peak_flops(CPU, "fp32") == peak
    assert devices.memory_used(CPU) > 1e7


@pytest.mark.parametrize(
    ("capability", "auto"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16")]
)
def test_precision_on_cuda_depends_on_its_age(
    capability: tuple[int, int], auto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    cuda = torch.device("cuda", 0)
    assert devices.resolve_precision(cuda, "auto") == auto
    assert devices.resolve_precision(cuda, "fp16") == "fp16"
    if auto == "fp16":
        with pytest.raises(DeviceError, match="no bf16"):
            devices.resolve_precision(cuda, "bf16")


def test_mps_takes_fp32_unless_bf16_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    mps, macos = torch.device("mps"), [14]
    monkeypatch.setattr(
        torch.backends.mps, "is_macos_or_newer", lambda major, minor: macos[0] >= major
    )
    assert devices.resolve_precision(mps, "auto") == "fp32"
    assert devices.resolve_precision(mps, "bf16") == "bf16"
    macos[0] = 13
    with pytest.raises(DeviceError, match="needs macOS 14"):
        devices.resolve_precision(mps, "bf16")
    with pytest.raises(DeviceError, match="fp16 needs a CUDA device"):
        devices.resolve_precision(mps, "fp16")


def test_memory_on_mps_is_what_metal_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate compares with what may be used, `system/memory_gb` is what the driver has."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 12 * 2**30)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 3 * 2**30)
    info = devices.describe_devices()[0]
    assert (info.name, info.memory, info.precision) == ("mps", 12 * 2**30, "fp32")
    assert devices.memory_used(torch.device("mps")) == 3 * 2**30


def test_the_peak_of_a_known_gpu_is_its_makers_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100-SXM4-80GB")
    cuda = torch.device("cuda", 0)
    assert devices.peak_flops(cuda, "bf16") == 312e12
    assert devices.peak_flops(cuda, "fp32") == 19.5e12


def test_what_is_about_waiting_is_nothing_on_a_cpu() -> None:
    devices.synchronize(CPU)
    devices.empty_cache(CPU)
    assert not devices.is_asynchronous(CPU)
    assert (devices.ddp_backend(CPU), devices.ddp_backend(torch.device("cuda"))) == ("gloo", "nccl")


def test_compiling_without_a_compiler_is_refused_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"install g\+\+ or set train.compile to false"):
        devices.require_compiler()


def test_cudas_allocator_may_grow_its_blocks_unless_a_user_has_set_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices.sys, "platform", "linux")
    for given in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", None):
        environment = {given: "max_split_size_mb:64"} if given else {}
        monkeypatch.setattr(devices.os, "environ", dict(environment))
        devices.allow_growing_segments()
        wanted = environment or {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}
        assert devices.os.environ == wanted


@pytest.mark.parametrize(("precision", "wanted"), [("bf16", "high"), ("fp32", "highest")])
def test_tf32_is_for_products_that_are_left_in_fp32(precision: str, wanted: str) -> None:
    before = torch.get_float32_matmul_precision()
    try:
        devices.set_matmul_precision(torch.device("cuda"), precision)
        assert torch.get_float32_matmul_precision() == wanted
        devices.set_matmul_precision(CPU, "bf16")
        assert torch.get_float32_matmul_precision() == wanted
    finally:
        torch.set_float32_matmul_precision(before)
