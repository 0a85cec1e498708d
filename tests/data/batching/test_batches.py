"""Promises of the batches: order is a pure function of (seed, index), and nothing is left out."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm_tui.data.batching.batches import Batches
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.token_store import TokenStore


def store(tokens, kind=np.uint32):
    """Token number n is n: a batch shows where it was taken."""
    end = np.array([tokens])
    return TokenStore(np.arange(tokens, dtype=kind), end, end, tokens, "")


def first_tokens(batches, count):
    return np.concatenate([batches.get(index)[0][:, 0] for index in range(count)])


SIZES = st.tuples(
    st.integers(2, 400), st.integers(1, 20), st.integers(1, 17), st.integers(0, 2**31 - 1)
).filter(lambda sizes: sizes[0] > sizes[1])


@given(SIZES)
def test_every_block_is_seen_exactly_once_an_epoch(sizes):
    tokens, seq_len, batch_size, seed = sizes
    batches = Batches(store(tokens), seq_len, batch_size, seed)
    every = [block * seq_len for block in range((tokens - 1) // seq_len)]
    seen = first_tokens(batches, -(-3 * len(every) // batch_size)).tolist()
    for epoch in range(3):
        assert sorted(seen[epoch * len(every) : (epoch + 1) * len(every)]) == every


@given(SIZES, st.lists(st.integers(0, 60), min_size=1, max_size=8))
def test_a_batch_does_not_depend_on_what_was_asked_before(sizes, indices):
    tokens, seq_len, batch_size, seed = sizes
    one = Batches(store(tokens), seq_len, batch_size, seed)
    for index in indices:
        fresh = Batches(store(tokens), seq_len, batch_size, seed)
        for mine, theirs in zip(one.get(index), fresh.get(index), strict=True):
            assert (mine == theirs).all()


@given(SIZES, st.integers(0, 50))
def test_labels_are_the_tokens_after_the_ids(sizes, index):
    tokens, seq_len, batch_size, seed = sizes
    rows = Batches(store(tokens), seq_len, batch_size, seed).get(index)
    ids, labels = rows.ids, rows.labels
    assert ids.shape == labels.shape == (batch_size, seq_len)
    assert (labels == ids + 1).all()
    assert (np.diff(ids, axis=1) == 1).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_batches_are_contiguous_narrow_copies_of_the_callers_own(dtype):
    batches = Batches(store(1000, dtype), 10, 4, seed=1)
    (tokens,) = batches.get(0)
    assert tokens.dtype == dtype and tokens.shape == (4, 11)
    assert tokens.flags.c_contiguous and tokens.flags.writeable
    before = tokens.copy()
    tokens[:] = 7
    assert (batches.get(0).tokens == before).all()


def test_epochs_and_seeds_differ():
    def order(seed, epoch):
        return Batches(store(10_001), 100, 100, seed).get(epoch)[0][:, 0].tolist()

    orders = [order(0, 0), order(0, 1), order(1, 0), order(1, 1)]
    assert len({tuple(found) for found in orders}) == 4


def test_the_order_is_pinned_so_that_old_runs_can_be_resumed():
    order = first_tokens(Batches(store(101), 10, 10, seed=7), 1) // 10
    assert order.tolist() == [6, 3, 4, 9, 0, 2, 8, 7, 5, 1]


def test_without_a_seed_blocks_come_in_order():
    batches = Batches(store(101), 10, 4, seed=None)
    assert first_tokens(batches, 5).tolist() == [*range(0, 100, 10), *range(0, 100, 10)]


@pytest.mark.parametrize(("tokens", "batch_size"), [(101, 4), (101, 10), (101, 64), (201, 4)])
def test_once_gives_each_block_once_in_order(tokens, batch_size):
    batches = Batches(store(tokens), 10, batch_size, seed=0)
    assert batches.epoch == tokens // 10 / batch_size
    for count in (1, 7, 1000):
        ids = np.concatenate([rows.ids for rows in batches.once(count)])
        assert ids[:, 0].tolist() == [*range(0, min(count, tokens // 10) * 10, 10)]


def test_fewer_blocks_than_a_batch_wrap_through_epochs():
    ids = Batches(store(31), 10, 7, seed=0).get(0).ids
    starts = ids[:, 0].tolist()
    assert sorted(starts[:3]) == sorted(starts[3:6]) == [0, 10, 20]


def test_less_than_one_sequence_is_refused():
    with pytest.raises(DataError, match="it has 10 tokens, and needs 11"):
        Batches(store(10), 10, 1, seed=0)


def test_threads_may_share_batches():
    batches = Batches(store(2001), 10, 30, seed=5)
    wanted = [Batches(store(2001), 10, 30, seed=5).get(index)[0] for index in range(60)]
    wrong = []

    def look(indices):
        wrong.extend(i for i in indices if not (batches.get(i)[0] == wanted[i]).all())

    orders = (range(60), range(59, -1, -1), [*range(0, 60, 7), *range(60)])
    threads = [threading.Thread(target=look, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
