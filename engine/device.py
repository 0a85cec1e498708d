"""Everything that differs between CUDA, MPS and CPU; no other file distinguishes them.

The choice of device and precision, autocast and scaler, random states, memory, peak speed, and how
out-of-memory errors are recognised.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import random
import shutil
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import torch
from torch import Tensor

from lmm_tui.engine.cards import card_of_device
from lmm_tui.errors import LmmError
from lmm_tui.message import Message

Precision = Literal["fp32", "bf16", "fp16"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_GEMM_SIZE = {"cpu": 1024, "mps": 4096, "cuda": 8192}
_GEMM_SECONDS = 0.25
_simulated: ContextVar[str] = ContextVar("simulated", default="")


class DeviceError(LmmError):
    """A device or precision that this machine does not have."""


@dataclass(frozen=True)
class DeviceInfo:
    """One device of this machine, as shown to people."""

    name: str
    """The argument of `resolve_device`: cuda:0, mps, cpu."""
    description: str
    memory: int
    """Total, in bytes."""
    precision: str
    """The precision that `auto` chooses."""


def get_best_device() -> torch.device:
    """cuda:0, else mps, else cpu."""
    return _devices()[0]


def get_device_type() -> str:
    """'cuda', 'mps' or 'cpu': the type of the best device."""
    return get_best_device().type


def resolve_device(name: str) -> torch.device:
    """The device that 'auto', 'cpu', 'mps', 'cuda' or 'cuda:N' names; DeviceError if absent."""
    if name == "auto":
        return get_best_device()
    present = {str(device): device for device in _devices()}
    found = present.get("cuda:0" if name == "cuda" else name)
    if found is None:
        raise DeviceError(
            "device: {name!r} is not here; this machine has {present}, choose one of these or auto",
            name=name,
            present=[*present],
        )
    return found


def describe_devices() -> list[DeviceInfo]:
    """The devices of this machine, best first."""
    return [
        DeviceInfo(str(one), _described(one), memory_total(one), resolve_precision(one, "auto"))
        for one in _devices()
    ]


def card_name(device: torch.device) -> str:
    """What the driver calls a GPU of CUDA; empty for other devices."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def resolve_precision(device: torch.device, precision: str) -> Precision:
    """The arithmetic that `precision` ('auto', 'fp32', 'bf16', 'fp16') means on `device`.

    auto: bf16 on a CUDA device that has it, fp16 on an older one, fp32 elsewhere (on a CPU without
    bf16 units, and on MPS, lower precision is no faster). Raises DeviceError where the device does
    not support it.
    """
    if precision == "auto":
        if device.type != "cuda":
            return "fp32"
        return "bf16" if _cuda_has_bf16(device) else "fp16"
    if precision == "fp32":
        return "fp32"
    if precision == "bf16":
        if device.type == "cuda" and not _cuda_has_bf16(device):
            raise DeviceError(
                "train.precision: {device} has no bf16; use fp16, fp32 or auto", device=device
            )
        if device.type == "mps" and not torch.backends.mps.is_macos_or_newer(14, 0):
            raise DeviceError(
                "train.precision: bf16 on an Apple GPU needs macOS 14; use fp32 or auto"
            )
        return "bf16"
    if precision == "fp16":
        if device.type != "cuda":
            raise DeviceError(
                "train.precision: fp16 needs a CUDA device, this is {device}; use bf16 or fp32",
                device=device,
            )
        return "fp16"
    raise DeviceError(
        "train.precision: {precision!r} is not one of auto, fp32, bf16, fp16", precision=precision
    )


def autocast(
    device: torch.device, precision: Precision
) -> contextlib.AbstractContextManager[object]:
    """A context in which matrix products run in `precision`; a null context for fp32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision])


def compute_dtype(device: torch.device) -> torch.dtype | None:
    """The type of matrix products under the present autocast; None outside of one."""
    on = torch.is_autocast_enabled(device.type)
    return torch.get_autocast_dtype(device.type) if on else None


def residual_dtype(device: torch.device) -> torch.dtype | None:
    """The type of the activations between products where that is not autocast's choice.

    bf16 on a GPU: autocast would keep them in fp32, with norms and additions at half the speed. Not
    fp16, which has no room for their size, and not on a CPU, where nothing is gained.
    """
    found = compute_dtype(device)
    kind = _simulated.get() or device.type
    return found if kind != "cpu" and found == torch.bfloat16 else None


def make_scaler(device: torch.device, precision: Precision) -> torch.amp.GradScaler:
    """A loss scaler; for other precisions than fp16 it is disabled and changes nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


@contextlib.contextmanager
def simulated(kind: str) -> Iterator[None]:
    """Size work in the `with` block as for a device of this kind, whatever the tensors say."""
    token = _simulated.set(kind)
    try:
        yield
    finally:
        _simulated.reset(token)


def logits_budget(device: torch.device) -> int:
    """How many logits a chunk of the loss may hold, at 4 bytes each.

    On a CPU larger chunks gain nothing (1,024 tokens of vocabulary 6,400 are enough), and glibc
    maps and unmaps large blocks, which is slow. On a GPU products must be large enough to hide the
    launch of kernels.
    """
    return 2**23 if (_simulated.get() or device.type) == "cpu" else 2**26


def sort_rows(values: Tensor) -> Tensor:
    """The values of the last dimension, ascending; numpy's sort is 15 times torch's on a CPU."""
    if values.is_cpu:
        return torch.from_numpy(np.sort(values.numpy()))
    return values.sort().values


def ddp_backend(device: torch.device) -> str:
    """The torch.distributed backend for tensors of this device."""
    return "nccl" if device.type == "cuda" else "gloo"


def allow_growing_segments() -> None:
    """Let CUDA's allocator grow its blocks instead of keeping many of odd sizes: less memory is
    lost between them. Before the first tensor on a GPU; what a user has set stays."""
    if sys.platform == "linux" and not {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & {
        *os.environ
    }:
        os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"


def set_matmul_precision(device: torch.device, precision: Precision) -> None:
    """TF32 for the products in fp32 that are left on CUDA, unless fp32 is what is asked for."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")


def can_compile() -> bool:
    """Whether `require_compiler` finds all that it needs."""
    try:
        require_compiler()
    except DeviceError:
        return False
    return True


def require_compiler() -> None:
    """DeviceError where torch.compile could not build its kernels on this machine."""
    compiler = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([compiler] if compiler else ["g++", "clang++"])):
        raise DeviceError(
            "train.compile: torch.compile needs a C++ compiler and none is on the PATH; "
            "install g++ or set train.compile to false"
        )
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        raise DeviceError(
            "train.compile: torch.compile needs Python.h and it is not installed; install the "
            "python3-dev package or set train.compile to false"
        )


def seed_all(seed: int) -> None:
    """Seed Python, numpy and torch on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def rng_state() -> dict[str, Tensor]:
    """The state of all global random generators, as CPU tensors."""
    version, internal, gauss = random.getstate()
    legacy = np.random.get_state(legacy=False)
    cached = legacy["gauss"] if legacy["has_gauss"] else None
    state = {
        "python.words": torch.tensor([version, *internal]),
        "python.gauss": _optional(gauss),
        "numpy.words": torch.tensor([*legacy["state"]["key"].tolist(), legacy["state"]["pos"]]),
        "numpy.gauss": _optional(cached),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        for index, generator in enumerate(torch.cuda.get_rng_state_all()):
            state[f"cuda.{index}"] = generator
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_rng(state: dict[str, Tensor]) -> None:
    """Restore `rng_state` for the generators that this machine has."""
    version, *internal = state["python.words"].tolist()
    gauss = state["python.gauss"].tolist()
    random.setstate((version, tuple(internal), gauss[0] if gauss else None))
    *keys, position = state["numpy.words"].tolist()
    cached = state["numpy.gauss"].tolist()
    np.random.set_state(
        ("MT19937", np.array(keys, dtype=np.uint32), position, len(cached), sum(cached))
    )
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            if f"cuda.{index}" in state:
                torch.cuda.set_rng_state(state[f"cuda.{index}"], index)
    if torch.backends.mps.is_available() and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


def is_asynchronous(device: torch.device) -> bool:
    """Whether work on the device is queued, so that reading a result waits for it."""
    return (_simulated.get() or device.type) != "cpu"


def fused_step_can_skip(device: torch.device) -> bool:
    """Whether fused optimisers support `found_inf`; those of MPS do not."""
    return (_simulated.get() or device.type) != "mps"


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def empty_cache(device: torch.device) -> None:
    """Release cached memory of the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def memory_used(device: torch.device) -> int:
    """Bytes of the device's memory, or for a CPU of the host's, that this process uses."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    return psutil.Process().memory_info().rss


def memory_total(device: torch.device) -> int:
    """Bytes of the device's memory, or for a CPU of the host's."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if device.type == "mps":
        return torch.mps.recommended_max_memory()
    return psutil.virtual_memory().total


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that a device, or the host, is out of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "not enough memory" in text or "can't allocate memory" in text
    )


def peak_flops(device: torch.device, precision: Precision) -> float:
    """FLOP/s of dense matrix products: from the data sheet of a known GPU, else measured.

    The measurement takes about a quarter of a second, once in a process.
    """
    if device.type == "cuda":
        card = card_of_device(card_name(device))
        if card is not None:
            return card.peak_flops(precision)
    return _measured_flops(device, precision, torch.get_num_threads())


@lru_cache
def _measured_flops(device: torch.device, precision: Precision, threads: int) -> float:
    """The rate of the fastest of the square products that fit into _GEMM_SECONDS."""
    size = _GEMM_SIZE[device.type]
    left, right = torch.zeros(2, size, size, dtype=_DTYPES[precision], device=device)
    best = math.inf
    end = time.perf_counter() + _GEMM_SECONDS
    with torch.no_grad():
        torch.mm(left, right)
        synchronize(device)
        while (start := time.perf_counter()) < end or best == math.inf:
            torch.mm(left, right)
            synchronize(device)
            best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def _devices() -> list[torch.device]:
    """The devices of this machine, best first."""
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = [torch.device("mps")] if torch.backends.mps.is_available() else []
    return [torch.device("cuda", index) for index in range(cuda)] + mps + [torch.device("cpu")]


def _described(device: torch.device) -> str:
    if device.type == "cuda":
        return card_name(device)
    if device.type == "mps":
        return Message("Apple GPU")
    threads = torch.get_num_threads()
    return Message(
        "{machine} CPU, {threads} thread" if threads == 1 else "{machine} CPU, {threads} threads",
        machine=platform.machine(),
        threads=threads,
    )


def _cuda_has_bf16(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) >= (8, 0)


def _optional(value: float | None) -> Tensor:
    return torch.tensor([] if value is None else [value], dtype=torch.float64)


if __name__ == "__main__":
    for info in describe_devices():
        print(f"{info.name}: {info.description}, {info.memory / 2**30:.0f} GiB, {info.precision}")
    device = get_best_device()
    peak = peak_flops(device, resolve_precision(device, "auto"))
    print(f"{device}: {peak / 1e9:.0f} GFLOP/s, holds {memory_used(device) >> 20} MiB")
    print("=== 自测通过 ===")
