"""The soak benchmark in small: what it counts as a kill, and that it finds nothing lost."""

from pathlib import Path

from benchmarks.soak import soak


def test_a_run_killed_at_random_and_inside_a_write_loses_nothing(tmp_path: Path) -> None:
    outcome = soak(tmp_path, random_kills=1, aimed_kills=1)
    assert (outcome.at_random, outcome.inside_a_write) == (1, 1)
    assert outcome.trouble == []
