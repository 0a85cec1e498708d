"""Prepare data in a process of its own, which can kill itself on the way."""

from __future__ import annotations

import os
from pathlib import Path

from forked import Forked

_CODE = """
import os, signal, sys, time
from pathlib import Path
from lmm_tui.data.preparation import build
from lmm_tui.data.preparation.prepare import prepare
source, cache, label, times, waits_for = sys.argv[1:]
build._CHUNK_BYTES = 4000
seen, labels = 0, []
def progress(at, done, total):
    global seen
    labels.append((at, done))
    if waits_for and at.startswith("waiting"):
        Path(waits_for).touch()
    if at == label:
        seen += 1
        if seen == int(times):
            if waits_for:
                deadline = time.monotonic() + 60
                while not Path(waits_for).exists() and time.monotonic() < deadline:
                    time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
corpus = prepare(source, tokenizer=None, vocab_size=400, seq_len=32, val_fraction=0.1,
    builtin_mb=1.0, cache_dir=Path(cache), progress=progress)
print(*[f"{at}={done}" for at, done in labels if at.startswith(("tok", "wait"))], sep=";")
print(*corpus.notes, sep="|")
print("ready", flush=True)
sys.stdin.read()
"""


class Preparing(Forked):
    """`kill_at=("tokenising", 3)`: it kills itself at the third report of that activity, once
    the file `waits_for` exists where one is given. It holds the corpus until it is asked to end."""

    def __init__(
        self, source: Path, cache: Path, kill_at: tuple[str, int] = ("", 0), waits_for: str = ""
    ) -> None:
        given = [str(source), str(cache), kill_at[0], str(kill_at[1]), waits_for]
        (end, self._end), (out, said), (err, complained) = (os.pipe() for _ in range(3))
        super().__init__(
            ["-c", _CODE, *given],
            Path.cwd(),
            {**os.environ, "RAYON_NUM_THREADS": "2"},
            ["lmm_tui.data.preparation.prepare"],
            streams=(end, said, complained),
        )
        for file in (end, said, complained):
            os.close(file)
        self.stdout, self._errors = (os.fdopen(file, encoding="utf-8") for file in (out, err))

    def communicate(self, timeout: float | None = 120) -> tuple[str, str]:
        """The rest of what it says, once it has ended."""
        os.close(self._end)
        self.wait(timeout)  # It says less than a pipe holds.
        with self.stdout, self._errors:
            return self.stdout.read(), self._errors.read()

    def result(self) -> tuple[list[tuple[str, int]], list[str]]:
        """The activities with what was done, and the notes; it ends."""
        output, errors = self.communicate()
        assert self.wait() == 0 and not errors, errors
        labels, notes, _ = output.split("\n", 2)
        said = [part.rsplit("=", 1) for part in labels.split(";") if part]
        return [(at, int(done)) for at, done in said], [note for note in notes.split("|") if note]
