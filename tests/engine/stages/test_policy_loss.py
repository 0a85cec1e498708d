"""GRPO and its kin: advantages within a group, clipping, and independence of micro-batches."""

import math
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lmm_tui.engine.stages.policy_loss import (
    Kind,
    PolicyLoss,
    group_advantages,
    groups_without_spread,
    policy_loss,
)

kinds = pytest.mark.parametrize("kind", get_args(Kind))


def cost(log_p: Tensor, old: Tensor, advantages: Tensor, **changes: Any) -> PolicyLoss:
    options: dict[str, Any] = {
        "kind": "grpo",
        "clip_low": 0.2,
        "clip_high": 0.3,
        "length": log_p.shape[1],
    }
    mask = changes.pop("mask", torch.ones_like(log_p))
    return policy_loss(log_p, old, advantages, mask, **options | changes)


@given(
    rewards=st.lists(
        st.lists(st.integers(-5, 5).map(float), min_size=4, max_size=4), min_size=1, max_size=5
    ),
    shift=st.integers(-9, 9),
)
@settings(deadline=None)
def test_only_differences_within_a_group_matter(rewards: list[list[float]], shift: int) -> None:
    grid = torch.tensor(rewards, dtype=torch.float64)
    for kind in get_args(Kind):
        advantages = group_advantages(grid, kind)
        torch.testing.assert_close(group_advantages(grid + shift, kind), advantages)
        torch.testing.assert_close(advantages.sum(1), torch.zeros(len(grid), dtype=torch.float64))
        alone = [group_advantages(row.unsqueeze(0), kind) for row in grid]
        torch.testing.assert_close(torch.cat(alone), advantages)
    spread = grid.amax(1) > grid.amin(1)
    assert groups_without_spread(grid).tolist() == (~spread).tolist()
    assert (group_advantages(grid, "grpo")[~spread] == 0).all()
    others = (grid.sum(1, keepdim=True) - grid) / 3
    torch.testing.assert_close(group_advantages(grid, "rloo"), grid - others)


def test_advantages_are_in_deviations_but_for_dr_grpo() -> None:
    rewards = torch.tensor([[0.0, 0.0, 4.0]])
    deviation = math.sqrt(((4 / 3) ** 2 * 2 + (8 / 3) ** 2) / 2)
    expected = [-4 / 3, -4 / 3, 8 / 3]
    assert group_advantages(rewards, "dr_grpo")[0].tolist() == pytest.approx(expected)
    scaled = [value / (deviation + 1e-4) for value in expected]
    assert group_advantages(rewards, "grpo")[0].tolist() == pytest.approx(scaled)
    assert group_advantages(rewards, "cispo")[0].tolist() == pytest.approx(scaled)


@kinds
def test_an_answer_without_a_reward_is_as_if_it_were_not_there(kind: Kind) -> None:
    holed = torch.tensor([[1.0, math.nan, 0.0, 3.0], [math.nan] * 4, [2.0, *[math.nan] * 3]])
    advantages = group_advantages(holed, kind)
    expected = group_advantages(torch.tensor([[1.0, 0.0, 3.0]]), kind)[0]
    torch.testing.assert_close(advantages[0, [0, 2, 3]], expected)
    assert advantages[0, 1] == 0 and (advantages[1:] == 0).all()
    assert groups_without_spread(holed).tolist() == [False, True, True]


@kinds
def test_at_the_old_policy_the_gradient_is_the_plain_policy_gradient(kind: Kind) -> None:
    log_p = -torch.rand(2, 3, dtype=torch.float64)
    leaf = log_p.clone().requires_grad_()
    advantages = torch.tensor([2.0, -1.0], dtype=torch.float64)
    [gradient] = torch.autograd.grad(cost(leaf, log_p, advantages, kind=kind).losses_N.mean(), leaf)
    share = 2 if kind == "rloo" else 6  # Its completions count by their tokens.
    torch.testing.assert_close(gradient, (-advantages / share).unsqueeze(1).expand(2, 3))


@kinds
@given(log_ratio=st.floats(-1, 1), advantage=st.sampled_from((-1.0, 1.0)))
@settings(deadline=None)
def test_a_ratio_out_of_bounds_has_no_gradient_or_a_bounded_one(
    kind: Kind, log_ratio: float, advantage: float
) -> None:
    ratio = math.exp(log_ratio)
    leaf = torch.full((1, 1), log_ratio - 1, dtype=torch.float64, requires_grad=True)
    old = torch.full((1, 1), -1.0, dtype=torch.float64)
    done = cost(leaf, old, torch.tensor([advantage], dtype=torch.float64), kind=kind)
    [gradient] = torch.autograd.grad(done.losses_N.sum(), leaf)
    too_far = ratio > 1.3 if advantage > 0 else ratio < 0.8 and kind != "cispo"
    if kind == "cispo":
        assert gradient.item() == pytest.approx(-min(ratio, 1.3) * advantage)
    else:
        assert gradient.item() == pytest.approx(0 if too_far else -ratio * advantage)
    assert done.clipped.item() == too_far


@given(
    log_p=st.floats(-5, 0, exclude_max=True),
    reference=st.floats(-5, 0, exclude_max=True),
)
@settings(deadline=None)
def test_the_reference_pulls(log_p: float, reference: float) -> None:
    leaf = torch.tensor([[log_p]], dtype=torch.float64, requires_grad=True)
    done = cost(
        leaf,
        leaf.detach(),
        torch.zeros(1, dtype=torch.float64),
        reference_log_p_NxT=torch.tensor([[reference]], dtype=torch.float64),
        beta=0.5,
    )
    q = math.exp(reference - log_p)
    assert done.kl.item() == pytest.approx(q - (reference - log_p) - 1, abs=1e-12)
    assert done.losses_N.item() == pytest.approx(0.5 * done.kl.item())
    [gradient] = torch.autograd.grad(done.losses_N.sum(), leaf)
    assert gradient.item() == pytest.approx(0.5 * (1 - q), abs=1e-12)


def test_how_the_tokens_of_an_answer_are_weighed() -> None:
    """A short and a long answer, each token costing 1."""
    log_p, advantages = torch.zeros(2, 4), -torch.ones(2)
    mask = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 0]])

    def losses(kind: Kind, length: float) -> list[float]:
        done = cost(log_p, log_p, advantages, kind=kind, mask=mask, length=length)
        assert done.tokens == 4
        return done.losses_N.tolist()

    assert losses("grpo", 99) == [1, 1]
    assert losses("dr_grpo", 4) == [0.25, 0.75]
    assert losses("dapo", 2) == [0.5, 1.5]
    assert losses("gspo", 99) == losses("rloo", 99) == [1, 1]
    log_p = -torch.ones(2, 4)
    assert losses("cispo", 2) == [-0.5, -1.5]


@pytest.mark.parametrize(("kind", "ratio"), [("gspo", math.exp(0.2)), ("rloo", math.exp(0.4))])
def test_a_completion_has_one_ratio(kind: Kind, ratio: float) -> None:
    """The mean or the sum of its tokens' log ratios; padding is none of them."""
    old = torch.full((1, 3), -2.0, dtype=torch.float64)
    leaf = (old + torch.tensor([0.5, -0.1, 9.0])).requires_grad_()
    mask, one = torch.tensor([[1, 1, 0]]), torch.ones(1, dtype=torch.float64)
    done = cost(leaf, old, one, kind=kind, mask=mask, clip_high=1.0)
    assert done.losses_N.item() == pytest.approx(-ratio)
    [gradient] = torch.autograd.grad(done.losses_N.sum(), leaf)
    each = ratio / (2 if kind == "gspo" else 1)
    assert gradient.tolist() == [pytest.approx([-each, -each, 0.0])]
    clipped = cost(leaf, old, one, kind=kind, mask=mask, clip_high=0.1)
    assert clipped.clipped == 2 and clipped.losses_N.item() == pytest.approx(-1.1)


@kinds
def test_micro_batches_add_up_to_the_step(kind: Kind) -> None:
    torch.manual_seed(0)
    log_p, old, reference = (-torch.rand(6, 5, dtype=torch.float64) for _ in range(3))
    advantages = torch.randn(6, dtype=torch.float64)
    mask = torch.arange(5) < torch.tensor([1, 5, 0, 2, 3, 4]).unsqueeze(1)
    parts = [
        cost(
            log_p[rows],
            old[rows],
            advantages[rows],
            mask=mask[rows],
            kind=kind,
            length=2.5,
            reference_log_p_NxT=reference[rows],
            beta=0.1,
        )
        for rows in (slice(6), slice(2), slice(2, 6))
    ]
    whole, first, second = parts
    torch.testing.assert_close(torch.cat([first.losses_N, second.losses_N]), whole.losses_N)
    assert whole.losses_N[2] == 0
    for name in ("kl", "clipped", "tokens"):
        total = getattr(first, name) + getattr(second, name)
        torch.testing.assert_close(total, getattr(whole, name))
