"""What a tracker adds when a run ends: its samples as a table, and whether it failed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

COLUMNS = ("step", "prompt", "text", "reward")
MOST_SAMPLES = 2_000
"""The newest ones: tables of other programs are read whole."""
_READING_S = 10.0


@dataclass(frozen=True)
class TrackedEnd:
    """`samples` are rows of COLUMNS, the oldest first; a reward that is not there is None."""

    samples: list[tuple[int, str, str, float | None]]
    failed: bool

    @classmethod
    def of(cls, directory: Path) -> TrackedEnd:
        """Of the run in this directory, as far as it is written."""
        from lmm_tui.engine.run.history import RunHistory  # numpy: 0.2 s, that a start needs not.
        from lmm_tui.engine.run.run_dir import RunDir

        history = RunHistory(RunDir(directory))
        history.poll(_READING_S)
        rows = [
            (one.step, one.prompt, one.text, _number(one.details.get("reward")))
            for one in history.samples
            if one.kind == "sample" and not one.abandoned
        ]
        last = next(
            (it.kind for it in reversed(history.events) if it.kind in ("error", "start")), ""
        )
        return cls(rows[-MOST_SAMPLES:], last == "error")


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        line = '{"step": 3, "kind": "sample", "prompt": "1 +", "text": " 2", "time": 1}\n'
        Path(folder, "samples.jsonl").write_text(line, encoding="utf-8")
        print(TrackedEnd.of(Path(folder)))
    print("=== 自测通过 ===")
