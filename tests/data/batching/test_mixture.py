"""A mixture is a pure function of the sequence's number, with each source's share at any point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm_tui.data.batching.batches import Batches
from lmm_tui.data.batching.mixed_batches import MixedBatches
from lmm_tui.data.batching.mixture import Mixture
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.token_store import TokenStore

SOURCES = st.lists(
    st.tuples(st.floats(0.01, 100), st.none() | st.integers(1, 40)), min_size=1, max_size=4
)


@settings(max_examples=60, deadline=None)
@given(SOURCES, st.integers(0, 150), st.integers(1, 40))
def test_any_part_is_what_the_whole_has_there(sources, start, count):
    mixture = Mixture([weight for weight, _ in sources], [most for _, most in sources])
    end = min(mixture.total or 200, 200)
    chosen, draws = mixture.take(0, end)
    for source, (_, most) in enumerate(sources):
        own = draws[chosen == source]
        assert (own == np.arange(len(own))).all()
        assert most is None or len(own) <= most
    start = min(start, end - 1)
    count = min(count, end - start)
    part = mixture.take(start, count)
    assert (part[0] == chosen[start : start + count]).all()
    assert (part[1] == draws[start : start + count]).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=4))
def test_each_source_has_its_share_at_any_point(weights):
    chosen, _ = Mixture(weights, [None] * len(weights)).take(0, 300)
    counted = np.cumsum(chosen[:, None] == np.arange(len(weights)), axis=0)
    wanted = np.arange(1, 301)[:, None] * np.array(weights) / sum(weights)
    assert np.abs(counted - wanted).max() < 2


def test_what_runs_dry_leaves_its_share_to_the_others():
    mixture = Mixture([1, 1, 2], [3, None, None])
    chosen, _ = mixture.take(0, 4000)
    dry = mixture.dry_after[0]
    assert dry == 1 + np.flatnonzero(chosen == 0)[-1] and (chosen == 0).sum() == 3
    after = chosen[dry:]
    assert abs((after == 2).mean() - 2 / 3) < 0.01
    assert Mixture([1, 1], [3, 5]).total == 8


def store(first: int, tokens: int) -> TokenStore:
    ids = np.arange(first, first + tokens, dtype=np.uint16)
    end = np.array([tokens])
    return TokenStore(ids, end, end, tokens, "")


def test_batches_of_any_size_cut_one_order_of_sequences():
    def rows(batch_size):
        parts = [Batches(store(n * 1000, 101), 10, 1, seed=n) for n in range(2)]
        mixed = MixedBatches(parts, Mixture([3, 1], [None, 7]), batch_size)
        return np.concatenate([mixed.get(at)[0] for at in range(24 // batch_size)])

    assert (rows(2) == rows(8)).all() and (rows(2) == rows(3)).all()


def test_beyond_the_end_of_all_sources_is_a_sentence():
    mixed = MixedBatches([Batches(store(0, 101), 10, 1, seed=0)], Mixture([1], [10]), 4)
    mixed.get(1)
    with pytest.raises(DataError, match="all have run dry after 10 sequences"):
        mixed.get(2)
