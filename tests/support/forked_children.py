"""The children that the product starts, forked from a process that has imported torch.

For tests of what a child does. How it is started is held by tests/lmm_tui/test_child_process.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from forked import Forked

from lmm_tui import child_process
from lmm_tui.engine.parallel.beats import SUPERVISED_BY

_HANDLER = "torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler"
"""Where torchelastic starts the ranks."""
_LARGE = {
    "lmm_tui.engine.evaluation.worker": [
        "lm_eval.evaluator",
        "lmm_tui.engine.evaluation.decoder_lm",
    ],
}
"""What a program imports once it has begun, which takes seconds."""


class ForkedPopen(subprocess.Popen[Any]):
    """A Popen of `python -P …`, of whose process the fork server is the parent."""

    def _execute_child(
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo,
        creationflags, shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *_,
    ) -> None:  # fmt: skip
        _, safe_path, *program = args
        assert safe_path == "-P"
        given = [p2cread, c2pwrite, errwrite]
        streams = [own if own >= 0 else number for number, own in enumerate(given)]
        imports = [_HANDLER, *_LARGE.get(program[1], [])]
        self._forked = Forked(program, Path.cwd(), env, imports, streams, session=True)
        self.pid = self._forked.pid
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """As os.waitpid: 0 while it runs, or its id and status."""
        code = self._forked.poll() if wait_flags else self._forked.wait(None)
        if code is None:
            return 0, 0
        return self.pid, code << 8 if code >= 0 else -code

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            self.returncode = self._forked.poll()
        return self.returncode


def fork_children(started: list[ForkedPopen]) -> SimpleNamespace:
    """What stands for `subprocess` where the product starts its children; `started` gets each."""

    def start(*args: Any, start_new_session: bool, **options: Any) -> ForkedPopen:
        assert start_new_session
        started.append(ForkedPopen(*args, **options))
        return started[-1]

    return SimpleNamespace(Popen=start)


def fork_own_children(environment: dict[str, str]) -> None:
    """In a forked process, which begins with `environment`: what it starts is forked, too.

    A rank ends with its parent, which is the server.
    """
    child_process.subprocess = fork_children([])
    if _HANDLER in sys.modules:
        sys.modules[_HANDLER].Popen = fork_children([]).Popen
    if SUPERVISED_BY in environment:
        environment[SUPERVISED_BY] = str(os.getppid())
