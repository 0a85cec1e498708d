"""The verdict on a run that is not open: as its writer recorded it, else from its metrics.

Runs without a record, as of older versions, are judged once they have ended, and again only if
their metrics change.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import ACTIVE_STATES, RunStatus
from lmm_tui.errors import LmmError
from lmm_tui.guarded_files import version_of
from lmm_tui.metrics.health.verdict import Verdict, with_end

NOT_JUDGED = Verdict("unknown", "not judged", None, "not judged while it runs: health is off")


def verdict_on(run: RunDir, status: RunStatus, state: str) -> Verdict:
    """The verdict on a run in a state, as `RunDir.derived_state` has it."""
    verdict = Verdict.from_record(status.verdict)
    if verdict is None:
        live = state in ACTIVE_STATES
        verdict = NOT_JUDGED if live else _judged(run.path, version_of(run.metrics))
    elif verdict.level == "ok" and verdict.headline == "healthy":
        verdict = Verdict("ok", "healthy", None, f"healthy up to step {status.step}")
    return with_end(verdict, state, status.error, status.step)


@lru_cache(maxsize=1024)
def _judged(path: Path, version: object) -> Verdict:
    """From the metrics of a run directory in that version."""
    del version
    from lmm_tui.engine.run.reader import Reader
    from lmm_tui.runs.run_health import judge

    try:
        session = Reader(path)
        session.poll()
        return judge(session)[1]
    except LmmError as error:
        return Verdict("unknown", "not judged", None, str(error))


if __name__ == "__main__":
    print(verdict_on(RunDir("runs/none"), RunStatus(), "running").headline)
    crashed = verdict_on(RunDir("runs/none"), RunStatus(verdict=NOT_JUDGED.record()), "crashed")
    print(crashed.text)
    print("=== 自测通过 ===")
