"""What happened to a run while nobody looked."""

from fake_run import FakeRun

from lmm_tui.engine.run.reader import Reader
from lmm_tui.runs.away_summary import LastSeen, away_summary


def test_it_counts_what_came_since_and_nothing_from_before(tmp_path) -> None:
    run = FakeRun(tmp_path / "story")
    run.train(1, 250)  # Its events are at 1e9 + their step; a checkpoint at 200.
    run.event(30, "alert", "old", "warning")
    run.event(240, "alert", "new", "error")
    run.event(241, "alert", "a notice", "info")
    session = Reader(run.dir.path)
    session.poll()
    said = away_summary(session, LastSeen(1e9 + 100, 100), now=1e9 + 700)
    best = min(session.series.get("val/loss").values)
    for part in ("(10 min 00 s)", "150 steps", f"val {best:.3f} at step 250", "1 alert", "1 check"):
        assert part in said
    assert "2 alerts" not in said
    assert not away_summary(session, LastSeen(1e9 + 250, 250), now=1e9 + 700)
    run.close()
