"""Advice for a run that failed or crashed, chosen by the text of its error."""

from __future__ import annotations

import re

from lmm_tui.i18n.language import mark, tr

_KNOWN = (
    (
        r"out of memory|OutOfMemory|Cannot allocate memory|DefaultCPUAllocator",
        mark("Lower train.batch_size and raise train.grad_accum as much, or lower data.seq_len."),
    ),
    (
        r"No space left|ENOSPC|Disk quota",
        mark("Free some disk space, or choose another --runs-dir; fewer checkpoints: log.keep."),
    ),
    (
        r"non-?finite|\bnan\b|\binf\b",
        mark("Lower optim.lr or raise optim.warmup_steps, and resume from the last checkpoint."),
    ),
    (
        r"CUDA error|device-side assert|cuDNN|CUBLAS|NCCL",
        mark("Run it with --device cpu to see whether the device is at fault."),
    ),
)


def for_failure(error: str, has_traceback: bool) -> str:
    """Advice for a run that failed with `error`; empty if there is none to give.

    Our own errors have no traceback and say themselves what to do.
    """
    for pattern, advice in _KNOWN:
        if re.search(pattern, error, re.IGNORECASE):
            return tr(advice)
    return tr("The full traceback is in output.log and events.jsonl.") if has_traceback else ""


def for_crash(pid: int, has_checkpoint: bool) -> tuple[str, str]:
    """What is known of a run whose process is gone, and what to look at where nothing was saved."""
    what = tr("Process {pid} exited without a message (killed, OOM or power loss).", pid=pid)
    return what, "" if has_checkpoint else tr("There is no checkpoint; see output.log.")


if __name__ == "__main__":
    print(for_failure("OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", True))
    print(*for_crash(4711, True))
    assert "batch_size" in for_failure("torch.OutOfMemoryError: …", True)
    assert not for_failure("data.source: no file matches", False)
    print("=== 自测通过 ===")
