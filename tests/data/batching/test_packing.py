"""Promises of packing: nothing lost, nothing mixed, and batches a function of (seed, index)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm_tui.data.batching import packing
from lmm_tui.data.batching.packing import IGNORED, PackedBatches
from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.learnt_tokens import LearntTokens

SEQ_LEN = 12
ITEM = st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=20).map(
    lambda tokens: ([token for token, _ in tokens], [learnt for _, learnt in tokens])
)
LEARNT_ITEM = ITEM.map(lambda item: (item[0], [*item[1][:1], *[True] * len(item[1][1:])])).filter(
    lambda item: len(item[0]) > 1
)


def pack(items, seq_len):
    return packing.pack(LearntTokens.of(items), seq_len)


def laid_out(packed):
    return packed.lay_out(np.arange(packed.rows))


def segments_of(packed):
    """(ids, labels, positions) of each conversation, by row and then in the row."""
    rows = laid_out(packed)
    found = {}
    for row in range(packed.rows):
        for segment in range(1, rows.segments[row].max() + 1):
            where = rows.segments[row] == segment
            found[row, segment] = tuple(
                array[row][where].tolist() for array in (rows.ids, rows.labels, rows.positions)
            )
    return found


def expected(item, seq_len):
    """(ids, labels) of one conversation on its own, or None where nothing is learnt."""
    ids, learnt = item[0][: seq_len + 1], item[1][: seq_len + 1]
    labels = [ids[t + 1] if learnt[t + 1] else IGNORED for t in range(len(ids) - 1)]
    while labels and labels[-1] == IGNORED:
        labels.pop()
    return (ids[: len(labels)], labels) if labels else None


@settings(deadline=None)
@given(st.lists(ITEM, min_size=1, max_size=40))
def test_nothing_is_lost_and_nothing_mixed(items):
    wanted = [found for item in items if (found := expected(item, SEQ_LEN))]
    if not wanted:
        with pytest.raises(DataError, match="no conversation to learn from"):
            pack(items, SEQ_LEN)
        return
    packed = pack(items, SEQ_LEN)
    found = segments_of(packed)
    assert sorted((ids, labels) for ids, labels, _ in found.values()) == sorted(wanted)
    assert all(positions == list(range(len(ids))) for ids, _, positions in found.values())
    assert packed.conversations == len(wanted)
    assert packed.dropped == len(items) - len(wanted)
    assert packed.learnt == sum(label != IGNORED for _, labels in wanted for label in labels)


@settings(deadline=None)
@given(st.lists(ITEM, min_size=1, max_size=40))
def test_each_conversation_is_found_by_its_row(items):
    if not any(expected(item, SEQ_LEN) for item in items):
        return
    packed = pack(items, SEQ_LEN)
    found, seen = segments_of(packed), {}
    assert len(packed.row_of) == len(items)
    for item, row in zip(items, packed.row_of.tolist(), strict=True):
        wanted = expected(item, SEQ_LEN)
        assert (row >= 0) == (wanted is not None)
        if wanted:
            seen[row] = seen.get(row, 0) + 1
            assert found[row, seen[row]][:2] == wanted


@settings(deadline=None)
@given(st.lists(LEARNT_ITEM, min_size=1, max_size=40))
def test_padding_stands_at_the_end_and_is_told_from_tokens(items):
    packed = pack(items, SEQ_LEN)
    rows = laid_out(packed)
    padding = rows.segments == 0
    assert (np.diff(padding.astype(int), axis=1) >= 0).all()
    for array, value in ((rows.ids, 0), (rows.labels, IGNORED), (rows.positions, 0)):
        assert (array[padding] == value).all()
    assert packed.fill == pytest.approx(1 - padding.mean())


@settings(deadline=None)
@given(st.lists(LEARNT_ITEM, min_size=1, max_size=40))
def test_the_longest_goes_first_into_the_first_row_with_room(items):
    packed = pack(items, SEQ_LEN)
    lengths = [min(len(ids) - 1, SEQ_LEN) for ids, _ in items]
    room = []
    for item in sorted(range(len(items)), key=lambda at: -lengths[at]):
        fits = (at for at, left in enumerate(room) if left >= lengths[item])
        row = next(fits, len(room))
        room += [SEQ_LEN] * (row == len(room))
        room[row] -= lengths[item]
        assert packed.row_of[item] == row


def test_long_ones_are_cut_from_the_right_and_counted():
    long = list(range(1, 31))
    early = [True] * 5 + [False] * 20 + [True] * 5
    late = [False] * 25 + [True] * 5
    packed = pack([(long, early), (long, late), (long[:13], [True] * 13)], SEQ_LEN)
    assert (packed.truncated, packed.dropped, packed.conversations) == (1, 1, 2)
    assert packed.row_of.tolist() == [1, -1, 0]
    assert laid_out(packed).labels[0].tolist() == list(range(2, 14))
    assert laid_out(packed).labels[1].tolist() == [2, 3, 4, 5] + [IGNORED] * 8


def test_what_follows_the_last_answer_takes_no_place():
    packed = pack([([1, 2, 3, 4, 5], [False, True, False, False, False])], SEQ_LEN)
    assert laid_out(packed).segments.sum() == 1


def test_many_rows_stay_well_filled():
    lengths = np.random.default_rng(0).integers(5, 200, 20_000)
    packed = pack((([1] * length, [True] * length) for length in lengths), 256)
    assert packed.fill > 0.99


def test_the_arrays_are_int64_and_the_callers_own():
    packed = pack([([1, 2, 3], [False, True, True])], 4)
    batches = PackedBatches(packed, 2, seed=0)
    rows = batches.get(0)
    for array in rows:
        assert array.dtype == np.int64
        assert array.shape == (2, 4)
        assert array.flags.c_contiguous and array.flags.writeable
        array[:] = 7
    assert batches.get(0).ids.tolist() == [[1, 2, 0, 0]] * 2


@settings(deadline=None)
@given(
    st.lists(LEARNT_ITEM, min_size=1, max_size=30),
    st.integers(1, 7),
    st.integers(0, 2**31 - 1),
    st.lists(st.integers(0, 30), min_size=1, max_size=5),
)
def test_a_batch_is_a_function_of_seed_and_index(items, batch_size, seed, indices):
    packed = pack(items, SEQ_LEN)
    batches = PackedBatches(packed, batch_size, seed)
    for index in indices:
        fresh = PackedBatches(pack(items, SEQ_LEN), batch_size, seed).get(index)
        for mine, theirs in zip(batches.get(index), fresh, strict=True):
            assert (mine == theirs).all()


def test_every_row_comes_once_an_epoch():
    items = [([number, 1], [False, True]) for number in range(1, 41)]
    packed = pack(items, 4)
    assert (packed.rows, packed.fill) == (10, 1.0)
    batches = PackedBatches(packed, 5, seed=1)
    assert batches.epoch == 2
    epochs = [
        np.concatenate([batches.get(2 * epoch).ids, batches.get(2 * epoch + 1).ids]).ravel()
        for epoch in range(3)
    ]
    assert all(sorted(epoch) == list(range(1, 41)) for epoch in epochs)
    assert (epochs[0] != epochs[1]).any()
    in_order = PackedBatches(packed, 10, seed=None).get(3).ids
    assert in_order.ravel().tolist() == list(range(1, 41))
    once = np.concatenate([rows.ids for rows in PackedBatches(packed, 4, seed=1).once(1000)])
    assert once.ravel().tolist() == list(range(1, 41))
