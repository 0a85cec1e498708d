"""Promises of the reference losses, against distributions whose entropies are known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lmm_tui.data.preparation.entropy import unigram_and_bigram


def draw(probabilities, count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.choice(len(probabilities), size=count, p=probabilities).astype(np.uint16)


def test_one_token_over_and_over_has_no_entropy():
    assert unigram_and_bigram(np.full(1000, 7, np.uint16)) == (0.0, 0.0)


def test_a_cycle_has_the_entropy_of_its_tokens_and_none_given_the_last():
    unigram, bigram = unigram_and_bigram(np.tile(np.arange(16, dtype=np.uint16), 5000))
    assert unigram == pytest.approx(math.log(16), abs=2e-4)
    assert bigram == pytest.approx(0, abs=2e-4)


def test_independent_draws_have_the_entropy_of_their_distribution_twice():
    p = np.array([0.5, 0.25, 0.125, 0.125])
    exact = 1.75 * math.log(2)
    assert unigram_and_bigram(draw(p, 400_000)) == pytest.approx((exact, exact), abs=4e-3)


def test_a_markov_chain_has_its_entropy_rate():
    stay, count = 0.9, 400_000
    flips = np.random.default_rng(1).random(count) > stay
    ids = (np.cumsum(flips) % 2).astype(np.uint16)
    rate = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    unigram, bigram = unigram_and_bigram(ids)
    assert unigram == pytest.approx(math.log(2), abs=1e-3)
    assert bigram == pytest.approx(rate, abs=5e-3)


def test_the_correction_brings_a_small_sample_nearer_to_the_truth():
    samples = [draw(np.full(200, 1 / 200), 600, seed) for seed in range(20)]
    found = [unigram_and_bigram(sample)[0] for sample in samples]
    shares = [np.unique(sample, return_counts=True)[1] / 600 for sample in samples]
    plug_in = [-(share * np.log(share)).sum() for share in shares]
    truth = math.log(200)
    assert abs(np.mean(found) - truth) < 0.25 * abs(np.mean(plug_in) - truth)


def test_a_long_sequence_is_sampled_and_gives_the_same_answer():
    p = np.full(50, 1 / 50)
    long = np.tile(draw(p, 1_000_003), 9).astype(np.uint32)
    assert unigram_and_bigram(long) == pytest.approx((math.log(50), math.log(50)), abs=2e-3)


@given(hnp.arrays(np.uint16, st.integers(2, 300), elements=st.integers(0, 40)))
def test_knowing_the_last_token_never_hurts(ids):
    unigram, bigram = unigram_and_bigram(ids)
    assert 0 <= bigram <= unigram


@pytest.mark.parametrize("period", [1_250_000, 2_500_000, 700_001])
def test_sources_that_take_turns_are_counted_by_their_share(period: int) -> None:
    """20M tokens of two sources in turns, each of its own half of the vocabulary."""
    turn = np.arange(20_000_000) // period % 2
    ids = (np.random.default_rng(1).integers(0, 32, len(turn)) + 32 * turn).astype(np.uint16)
    share = turn.mean()
    exact = math.log(32) - share * math.log(share) - (1 - share) * math.log(1 - share)
    assert unigram_and_bigram(ids)[0] == pytest.approx(exact, abs=0.02)
