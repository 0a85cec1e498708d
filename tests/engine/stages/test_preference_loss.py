"""DPO and IPO: where they start, which way they push, and what they call a win."""

import math
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lmm_tui.data.chat.answers import pair_texts
from lmm_tui.data.turns import Pair, Turn
from lmm_tui.engine.stages.preference_loss import (
    FreeKind,
    Kind,
    dpo_loss,
    implicit_rewards,
    reference_free_loss,
)

log_probs = st.floats(-100, -0.1)


def loss(*log_p: float | Tensor, kind: Kind, label_smoothing: float = 0.0) -> Tensor:
    """Of one pair, both answers 4 tokens long, with beta 0.5."""
    four = torch.tensor([4.0])
    given = [torch.as_tensor(value, dtype=torch.float64).reshape(1) for value in log_p]
    return dpo_loss(
        *given,
        beta=0.5,
        label_smoothing=label_smoothing,
        kind=kind,
        chosen_lengths_B=four,
        rejected_lengths_B=four,
    ).squeeze(0)


@given(chosen=log_probs, rejected=log_probs)
@settings(deadline=None)
def test_a_policy_that_is_its_reference_starts_at_log_2(chosen: float, rejected: float) -> None:
    same = loss(chosen, rejected, chosen, rejected, kind="sigmoid")
    assert same.item() == pytest.approx(math.log(2))
    assert loss(chosen, rejected, chosen, rejected, kind="ipo").item() == pytest.approx(1)


@given(log_p=st.tuples(log_probs, log_probs, log_probs, log_probs))
@settings(deadline=None)
def test_sigmoid_is_the_log_loss_of_preferring_the_chosen(log_p: tuple[float, ...]) -> None:
    policy_chosen, policy_rejected, chosen, rejected = log_p
    preferred = 0.5 * (policy_chosen - chosen - policy_rejected + rejected)
    expected = math.log1p(math.exp(-abs(preferred))) + max(-preferred, 0)
    assert loss(*log_p, kind="sigmoid").item() == pytest.approx(expected)
    swapped = loss(policy_rejected, policy_chosen, rejected, chosen, kind="sigmoid").item()
    smoothed = loss(*log_p, kind="sigmoid", label_smoothing=0.2).item()
    assert smoothed == pytest.approx(0.8 * expected + 0.2 * swapped)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_chosen_goes_up_and_rejected_down(kind: Kind) -> None:
    chosen = torch.tensor(-9.0, requires_grad=True)
    rejected = torch.tensor(-8.0, requires_grad=True)
    loss(chosen, rejected, -9.0, -8.0, kind=kind).backward()
    assert chosen.grad is not None and chosen.grad < 0
    assert rejected.grad is not None and rejected.grad > 0


def test_ipo_is_content_with_a_margin_of_half_of_one_by_beta_a_token() -> None:
    assert loss(-5.0 + 4 * 1.0, -5.0, -5.0, -5.0, kind="ipo").item() == pytest.approx(0)
    assert loss(-5.0 + 4 * 2.0, -5.0, -5.0, -5.0, kind="ipo").item() == pytest.approx(1)


def test_rewards_are_beta_times_what_the_policy_gained() -> None:
    policy_chosen = torch.tensor([-3.0, -6.0, -5.0], requires_grad=True)
    five = torch.full((3,), -5.0)
    rewards = implicit_rewards(policy_chosen, five, five, five, beta=0.5)
    assert rewards.chosen_B.tolist() == [1.0, -0.5, 0.0]
    assert rewards.rejected_B.tolist() == [0.0, 0.0, 0.0]
    assert rewards.margin_B.tolist() == [1.0, -0.5, 0.0]
    assert rewards.accuracy_B.tolist() == [1.0, 0.0, 0.0]
    assert not rewards.margin_B.requires_grad


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["orpo", "simpo"])
def test_losses_without_a_reference_are_trls(kind: FreeKind) -> None:
    """Of trl's own methods, values and gradients, up to answers that are all but certain."""
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer

    means = torch.tensor([[-2.0, -0.01, -9.0, -1e-6], [-3.0, -4.0, -0.5, -2.0]], requires_grad=True)
    device = SimpleNamespace(device="cpu")
    if kind == "orpo":
        about = SimpleNamespace(beta=0.3, accelerator=device)
        odds, *_ = ORPOTrainer.odds_ratio_loss(about, *means)
        wanted = -means[0] - odds
    else:
        about = SimpleNamespace(
            beta=0.3, simpo_gamma=0.7, alpha=0.0, label_smoothing=0.0, accelerator=device,
            loss_type="simpo",
        )  # fmt: skip
        wanted, *_ = CPOTrainer.cpo_loss(about, *means)
    found = reference_free_loss(*means, beta=0.3, gamma=0.7, kind=kind)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    for mine, right in zip(
        torch.autograd.grad(found.sum(), means),
        torch.autograd.grad(wanted.sum(), means),
        strict=True,
    ):
        torch.testing.assert_close(mine, right, atol=1e-5, rtol=1e-5)


def test_a_tokenizer_learns_from_the_prompt_of_a_pair_once() -> None:
    pair = Pair((Turn("user", "2 + 2?"),), (Turn("assistant", "4"),), (Turn("assistant", "5"),))
    assert [*pair_texts(pair)] == ["2 + 2?", "4", "5"]
