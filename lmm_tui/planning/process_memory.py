"""What a process that trains on a CPU takes of the machine's memory beside its tensors."""

from __future__ import annotations

_ALONE = 350_000_000
"""Python, torch, what is imported, and the data at hand: without any tensor of the step."""
_HOLES = 0.35
"""Of the tensors: what kernels and the C library keep between and around them."""


def beside_tensors(tensors: int) -> int:
    """Bytes that the process holds beside `tensors` bytes of a step's.

    A line fitted to peaks of resident memory (VmHWM) of runs of six steps on two cores, which it
    meets to 8 %: nano with 16 sequences took 578 MB, of them 173 of tensors, with 64 sequences
    1,160 (598), tiny with 4 611 (177), with 16 1,019 (476), minimind-26m with 4 1,282 (708),
    minimind-64m with 2 1,966 (1,091).
    """
    return _ALONE + round(_HOLES * tensors)


if __name__ == "__main__":
    for tensors, peak in ((173, 578), (598, 1160), (708, 1282), (1091, 1966)):
        found = tensors + beside_tensors(tensors * 1_000_000) / 1e6
        print(f"{found:,.0f} MB, measured: {peak:,}")
        assert abs(found / peak - 1) < 0.08
    print("=== 自测通过 ===")
