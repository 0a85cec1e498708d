"""The logs of all ranks of an attempt as one list: equal lines once, with how many ranks have them.

Lines that only some ranks have come first: with hundreds of ranks, they say what went wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmm_tui.engine.parallel.beats import attempt_folder
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.guarded_files import list_folder, reading

_TAIL = 1 << 16
"""Bytes of each log: its end."""
_MOST_LINES = 400
_DIFFERS = re.compile(
    r"""\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]*   # a date and time
    | \d\d:\d\d:\d\d[.,\d]*                        # a time
    | 0x[0-9a-fA-F]+                               # an address
    | \b(?:rank|local_rank|pid|cuda)[ :=]*\d+      # which process said it
    """,
    re.VERBOSE,
)
"""What differs between ranks in lines that say the same."""


@dataclass(frozen=True)
class FoldedLine:
    text: str
    """As the first of the ranks wrote it."""
    ranks: tuple[int, ...]


def read_logs(run: RunDir, attempt: int) -> dict[int, list[str]]:
    """The last lines of each rank in an attempt."""
    folder = attempt_folder(run, attempt)
    found: dict[int, list[str]] = {}
    for name in list_folder(folder, run.path):
        match = re.fullmatch(r"rank-(\d+)\.log", name)
        if match is None:
            continue
        try:
            with reading(folder / name, run.path) as file:
                file.seek(max(file.seek(0, 2) - _TAIL, 0))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            continue
        found[int(match[1])] = [line.rstrip() for line in text.splitlines() if line.strip()]
    return found


def fold_logs(logs: Mapping[int, Sequence[str]]) -> list[FoldedLine]:
    """The rarest lines first, each kind in the order of the log it was read in.

    The same line again in one log counts once.
    """
    texts: dict[str, str] = {}
    ranks: dict[str, set[int]] = {}
    for rank, lines in sorted(logs.items()):
        for line in lines[-_MOST_LINES:]:
            key = _DIFFERS.sub("#", line)
            texts.setdefault(key, line)
            ranks.setdefault(key, set()).add(rank)
    folded = [FoldedLine(text, tuple(sorted(ranks[key]))) for key, text in texts.items()]
    return sorted(folded, key=lambda line: len(line.ranks))


if __name__ == "__main__":
    logs = {rank: [f"12:00:01 rank {rank} up", "step 1"] for rank in range(3)}
    logs[1].append("CUDA error")
    for folded in fold_logs(logs):
        print(f"×{len(folded.ranks)}", folded.text)
    assert fold_logs(logs)[0].ranks == (1,)
    print("=== 自测通过 ===")
