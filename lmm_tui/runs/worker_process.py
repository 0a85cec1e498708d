"""Run one of our own programs in a child process and wait for it.

Used for work that imports torch or matplotlib, or that would take the interpreter lock from the
screen and from training.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Mapping, Sequence

from lmm_tui.child_process import start_python
from lmm_tui.errors import LmmError
from lmm_tui.i18n import language
from lmm_tui.message import Message

_COMMAND = """
import os, sys
os.nice(int(sys.argv[1]))
from lmm_tui.cli.main import run
sys.exit(run(sys.argv[2:]))
"""


class WorkerError(LmmError):
    """A worker process failed; the text is the last line it wrote to stderr, in our language."""


def run_in_worker(
    arguments: Sequence[str], *, niceness: int = 0, secrets: Collection[str] | None = ()
) -> str:
    """Run `lmm-tui ARGUMENTS` in a child process; returns its last line.

    `secrets` as in `child_process`. Raises WorkerError with the error message of the command.
    """
    try:
        program = [str(niceness), "--lang", language.chosen(), *arguments]
        said = run_program(_COMMAND, program, secrets=secrets)
        lines = said.strip().splitlines()
    except WorkerError as error:
        raise WorkerError(str(error).removeprefix("lmm-tui: ")) from None
    return lines[-1].removeprefix("lmm-tui: ") if lines else Message("exit code {code}", code=0)


def run_program(
    program: str,
    arguments: Sequence[str],
    *,
    stdin: str = "",
    timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
    secrets: Collection[str] | None = (),
) -> str:
    """Run Python source with `arguments` in a child process; returns what it printed.

    `environment` and `secrets` as in `child_process`. Raises WorkerError if the exit code is not 0,
    TimeoutExpired after `timeout_s`.
    """
    pipe = subprocess.PIPE
    with start_python(
        ["-c", program, *arguments],
        secrets=secrets,
        environment=environment,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        errors="replace",
    ) as child:
        try:
            said, complaints = child.communicate(stdin, timeout=timeout_s)
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        lines = complaints.strip().splitlines()
        raise WorkerError(
            lines[-1] if lines else Message("exit code {code}", code=child.returncode)
        )
    return said


if __name__ == "__main__":
    try:
        run_in_worker(["runs", "--nonsense"])
    except WorkerError as error:
        print(error)
    print("=== 自测通过 ===")
