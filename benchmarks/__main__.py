"""`python -m benchmarks` lists the cases, `python -m benchmarks CASE…` or `all` runs them.

A case is a module here with a TITLE and a `run()` that prints what it measured. A printed line that
ends in FAIL is a missed limit, and then the exit code is 1. `--quick` takes few repetitions: it
shows that a case works, its figures mean nothing.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
import time
import traceback
from contextlib import redirect_stdout
from io import TextIOBase
from pathlib import Path
from typing import TextIO


def main(arguments: list[str]) -> int:
    """Run the cases with these names, all of them for `all`; returns the exit code."""
    cases = _titles()
    names = [argument for argument in arguments if argument != "--quick"]
    if len(names) < len(arguments):
        os.environ["BENCHMARKS_QUICK"] = "1"
    if not names:
        for name, title in cases.items():
            print(f"{name:<16} {title}")
        print("\npython -m benchmarks CASE… runs them, `all` runs every one.")
        return 0
    chosen = list(cases) if names == ["all"] else names
    unknown = [name for name in chosen if name not in cases]
    if unknown:
        print(f"no case {unknown[0]!r}; there are: {', '.join(cases)}", file=sys.stderr)
        return 2
    missed = [name for name in chosen if not _passes(name, cases[name])]
    if len(chosen) > 1:
        print(f"\n{len(chosen) - len(missed)} of {len(chosen)} cases keep their limits")
    return 1 if missed else 0


def _passes(name: str, title: str) -> bool:
    """Run a case and print its output; whether it kept its limits."""
    print(f"\n{name}: {title}", flush=True)
    output = _FailWatcher(sys.stdout)
    start = time.perf_counter()
    try:
        with redirect_stdout(output):
            importlib.import_module(f"benchmarks.{name}").run()
    except Exception:
        traceback.print_exc()
        return False
    print(f"({time.perf_counter() - start:.0f} s)", flush=True)
    return not output.failed


class _FailWatcher(TextIOBase):
    """A stream that passes on what is written, and remembers whether a line ended in FAIL."""

    def __init__(self, target: TextIO) -> None:
        self.failed = False
        self._target = target
        self._line = ""

    def write(self, text: str) -> int:
        *ended, self._line = (self._line + text).split("\n")
        self.failed |= any(line.rstrip().endswith("FAIL") for line in ended)
        return self._target.write(text)

    def flush(self) -> None:
        self._target.flush()


def _titles() -> dict[str, str]:
    """Name and title of every case; parsed and not imported, because some import for seconds."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            match node:
                case ast.Assign([ast.Name("TITLE")], ast.Constant(str(title))):
                    found[path.stem] = title
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
