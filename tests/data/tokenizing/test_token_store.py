"""Promises of the token file."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm_tui.data.errors import DataError
from lmm_tui.data.tokenizing.token_store import TokenStore, write_tokens

MINE, OTHER = "a" * 32, "b" * 32
DOCUMENTS = [([5, 6, 7, 0], 9), ([8, 0], 4), ([9, 9, 9, 9, 0], 20)]


@pytest.fixture
def path(tmp_path):
    write_tokens(tmp_path / "tokens.bin", DOCUMENTS, 300, MINE)
    return tmp_path / "tokens.bin"


def test_what_was_written_is_read_back(path):
    store = TokenStore.open(path, MINE)
    assert store.ids.tolist() == [5, 6, 7, 0, 8, 0, 9, 9, 9, 9, 0]
    assert (store.tokens, store.documents, store.bytes) == (11, 3, 33)
    assert store.document_ends.tolist() == [4, 6, 11]
    assert store.byte_ends.tolist() == [9, 13, 33]
    assert store.bytes_per_token == 3


@pytest.mark.parametrize(
    ("vocab_size", "kind"), [(65_535, np.uint16), (65_536, np.uint32), (200_000, np.uint32)]
)
def test_ids_are_as_narrow_as_the_vocabulary_allows(tmp_path, vocab_size, kind):
    write_tokens(tmp_path / "t", [([vocab_size - 1, 0], 3)], vocab_size, MINE)
    store = TokenStore.open(tmp_path / "t", MINE)
    assert store.ids.dtype == kind
    assert store.ids.tolist() == [vocab_size - 1, 0]


@settings(deadline=None)
@given(st.lists(st.tuples(st.lists(st.integers(0, 65_000), max_size=9), st.integers(0, 50))))
def test_any_documents_survive_the_round_trip(tmp_path_factory, documents):
    path = tmp_path_factory.mktemp("store") / "t"
    write_tokens(path, documents, 65_001, MINE)
    store = TokenStore.open(path, MINE)
    assert store.ids.tolist() == [token for ids, _ in documents for token in ids]
    assert (store.documents, store.bytes) == (len(documents), sum(size for _, size in documents))


def test_the_mapped_tokens_cannot_be_written(path):
    with pytest.raises(ValueError, match="read-only"):
        TokenStore.open(path, MINE).ids[0] = 1


def test_another_tokenizer_is_refused(path):
    with pytest.raises(DataError, match=f"was made with tokenizer {MINE}, which is not this"):
        TokenStore.open(path, OTHER)


def test_every_flipped_byte_is_noticed(path):
    whole = path.read_bytes()
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 0x10
        path.write_bytes(broken)
        with pytest.raises(DataError, match="delete .*, and it will be made again"):
            TokenStore.open(path, MINE)


def test_every_truncation_is_noticed(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="tokens.bin: "):
            TokenStore.open(path, MINE)
    path.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match="tokens.bin: "):
        TokenStore.open(path, MINE)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="nothing.bin: cannot be read"):
        TokenStore.open(tmp_path / "nothing.bin", MINE)


def test_a_failed_write_leaves_the_old_file_alone(path):
    def failing():
        yield [1, 2], 3
        raise RuntimeError("stop")

    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="stop"):
        write_tokens(path, failing(), 300, MINE)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("cut", "head", "tail"),
    [(4, (1, 9), (2, 24)), (6, (2, 13), (1, 20)), (8, (2, 21), (1, 12)), (0, (0, 0), (3, 33))],
)
def test_a_split_shares_out_documents_and_bytes(path, cut, head, tail):
    store = TokenStore.open(path, MINE)
    first, second = store.split(cut)
    assert first.ids.tolist() + second.ids.tolist() == store.ids.tolist()
    assert (first.documents, first.bytes) == head
    assert (second.documents, second.bytes) == tail


@given(st.integers(0, 11), st.data())
def test_a_split_can_be_split_again(cut, data):
    ends, sizes = np.array([4, 6, 11]), np.array([9, 13, 33])
    store = TokenStore(np.arange(11, dtype=np.uint16), ends, sizes, 33, MINE)
    _, tail = store.split(cut)
    again = data.draw(st.integers(0, tail.tokens))
    first, second = tail.split(again)
    assert first.ids.tolist() + second.ids.tolist() == list(range(cut, 11))
    assert first.bytes + second.bytes == tail.bytes
    assert second.bytes == pytest.approx(store.split(cut + again)[1].bytes, abs=1)
