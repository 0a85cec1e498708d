"""Characters that a tokenizer spreads over several tokens are read whole."""

import math
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lmm_tui.data.tokenizing.tokenizer import Tokenizer
from lmm_tui.terminal.byte_tokens import spans, text_of


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(["小兔子去河边，小刺猬在家。the cat sat"] * 9, vocab_size=290)


@given(st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("小刺猬é😀"))))
def test_any_text_is_read_from_its_tokens(tokenizer, text):
    assume(not re.search("<[89A-F][0-9A-F]>", text))
    tokens = tokenizer.token_strings(tokenizer.encode(text))
    assert text_of(tokens) == text
    found = spans(tokens)
    assert [span.start for span in found[1:]] == [span.stop for span in found[:-1]]
    assert sum(span.stop - span.start for span in found) == len(tokens)


def test_bytes_that_make_no_character_stay_as_they_are():
    assert text_of(["<BA>", "a", "<E5>", "<88>"]) == "<BA>a<E5><88>"


def test_the_worst_loss_of_a_character_counts():
    (span,) = spans(["<E5>", "<88>", "<BA>"])
    assert span.worst([None, 1.5, 0.5]) == 1.5
    assert span.worst([None, "NaN", None]) is None
    assert math.isnan(span.worst([9.0, math.nan, 1.0]))
