"""Python stacks of the ranks: each rank writes its own to a file, and equal ones are grouped.

A request comes as a number in the store, which the thread of the beats obeys, or as SIGUSR1, which
works even while C++ code holds the interpreter's lock. Torch-free.
"""

from __future__ import annotations

import faulthandler
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lmm_tui.guarded_files import appending

_THREAD = re.compile(r"^(?:Current thread|Thread) 0x[0-9a-f]+")
_FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.*)$')
_PACKAGES = re.compile(r".*/(?:site-packages|lib/python[0-9.]+|(?=lmm_tui/))/?")
_LOOP = "engine/training/loop.py"
"""The loop is in the main thread of a rank, but in a thread of rank 0, which hosts the run too."""


@dataclass(frozen=True)
class Frame:
    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{_PACKAGES.sub('', self.file)}:{self.line} {self.function}"


Stack = tuple[Frame, ...]
"""The innermost call first."""


@dataclass(frozen=True)
class StackGroup:
    """Ranks whose loops stand at the same place; `main` is from the loop on, or all of the main
    thread where that has not begun."""

    ranks: tuple[int, ...]
    main: Stack
    others: tuple[Stack, ...] = ()
    """Of the first of these ranks: its other threads."""


class StackFile:
    """Where this rank writes its stacks; as long as it is open, SIGUSR1 does so too."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = appending(path)
        faulthandler.register(signal.SIGUSR1, file=self._file, all_threads=True)

    def write(self) -> None:
        """Append the stacks of all threads; works in any thread."""
        faulthandler.dump_traceback(file=self._file, all_threads=True)

    def close(self) -> None:
        faulthandler.unregister(signal.SIGUSR1)
        # From here on a late signal does nothing, rather than end the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        self._file.close()


def read_stacks(text: str) -> list[Stack]:
    """The threads of one dump, the main thread last; without calls of this package's beats."""
    threads: list[list[Frame]] = []
    for line in text.splitlines():
        if _THREAD.match(line):
            threads.append([])
        elif threads and (found := _FRAME.match(line)):
            threads[-1].append(Frame(found[1], int(found[2]), found[3]))
    return [tuple(frames) for frames in threads if frames]


def group_stacks(dumps: Mapping[int, str]) -> list[StackGroup]:
    """By equal stacks of what trains, the smallest group first: it is the odd one."""
    groups: dict[Stack, list[int]] = {}
    others: dict[Stack, tuple[Stack, ...]] = {}
    for rank, text in sorted(dumps.items()):
        main, rest = _training(read_stacks(text))
        groups.setdefault(main, []).append(rank)
        others.setdefault(main, tuple(stack for stack in rest if not _of_beats(stack)))
    found = [StackGroup(tuple(ranks), main, others[main]) for main, ranks in groups.items()]
    return sorted(found, key=lambda group: (len(group.ranks), group.ranks))


def _training(threads: list[Stack]) -> tuple[Stack, list[Stack]]:
    """What trains, down to the loop, and the other threads."""
    for number, stack in enumerate(threads):
        within = [at for at, frame in enumerate(stack) if frame.file.endswith(_LOOP)]
        if within:
            return stack[: within[-1] + 1], threads[:number] + threads[number + 1 :]
    return (threads[-1], threads[:-1]) if threads else ((), [])


def _of_beats(stack: Stack) -> bool:
    return any(frame.file.endswith("engine/parallel/beats.py") for frame in stack)


if __name__ == "__main__":
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = StackFile(Path(folder) / "rank-0.stacks")
        os.kill(os.getpid(), signal.SIGUSR1)
        file.close()
        text = (Path(folder) / "rank-0.stacks").read_text()
    for group in group_stacks({0: text, 1: text}):
        print(len(group.ranks), "×", *group.main)
        assert group.ranks == (0, 1)
    print("=== 自测通过 ===")
