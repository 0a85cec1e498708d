"""A run on someone's own data is sampled with prompts of that data."""

from lmm_tui.engine.config.sections.log_config import LogConfig
from lmm_tui.engine.stages.own_prompts import MOST, beginnings, spread


def test_prompts_are_the_first_words_of_whole_lines_each_once() -> None:
    texts = ["ng tail\nThe king of France is bald, and so is his eldest son.\n"] * 2 + [
        "从前有一天"
    ]
    assert beginnings(texts, ("x",)) == ("The king of France is bald, and so is", "从前有一天")
    assert beginnings(["", "\ufffd\n"], ("Once",)) == ("Once",)
    assert len(beginnings((f"line {number}" for number in range(99)), ())) == MOST


def test_places_are_from_everywhere() -> None:
    assert spread(3) == [0, 1, 2]
    assert len(spread(10_000)) == 4 * MOST and max(spread(10_000)) > 9_000


def test_intervals_follow_the_length_of_a_run_unless_they_are_set() -> None:
    log = LogConfig()
    assert (log.sample_interval(1000), log.checkpoint_interval(1000)) == (50, 200)
    assert (log.sample_interval(10**6), log.checkpoint_interval(10**6)) == (1000, 2000)
    assert [step for step in range(1, 101) if log.sample_is_due(step, 1000)] == [10, 50, 100]
    quiet = LogConfig(sample_every=0, checkpoint_every=0)
    assert not any(quiet.sample_is_due(step, 1000) for step in range(1, 101))
    assert quiet.checkpoint_interval(1000) == 0
