"""What is said when a run has ended, however little it did."""

from pathlib import Path

from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.run.run_records import RunInfo, RunStatus
from lmm_tui.runs.end_summary import end_summary


def test_a_run_stopped_before_it_measured_anything_is_still_summed_up(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "early")
    run.create()
    run.write_info(RunInfo("early", "pretrain", 0.0, 0.0, "box", 1, 0.0))
    run.write_status(RunStatus("stopped", 0, 100))
    words = end_summary(run)
    assert "stopped, step 0 of 100" in words
    assert "plots not written" in words
