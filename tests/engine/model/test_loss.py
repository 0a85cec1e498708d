"""The chunked loss: equal to the plain one, forward and backward, without its logits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from lmm_tui.engine.model import loss as loss_module
from lmm_tui.engine.model.layout import IGNORE
from lmm_tui.engine.model.loss import chunked_loss, loss_sum, token_log_probs, token_nll


def problem(rows: int, vocab: int, seed: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(2, rows, 8, generator=generator, dtype=dtype).requires_grad_()
    head = torch.randn(vocab, 8, generator=generator, dtype=dtype).requires_grad_()
    labels = torch.randint(vocab, (2, rows), generator=generator)
    ignored = torch.rand(2, rows, generator=generator) < 0.3
    return hidden, head, labels.masked_fill(ignored, IGNORE)


def plain(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy((hidden @ head.T).flatten(0, 1), labels.flatten(), reduction="sum")


@given(
    rows=st.integers(1, 20),
    vocab=st.integers(2, 40),
    chunk=st.integers(1, 50),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=40)
def test_loss_and_gradients_equal_cross_entropy_for_any_chunk(
    rows: int, vocab: int, chunk: int, seed: int
) -> None:
    hidden, head, labels = problem(rows, vocab, seed, torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss_module, "logits_budget", lambda device: chunk * vocab)
        ours = loss_sum(hidden, head, labels)
    theirs = plain(hidden, head, labels)
    assert torch.allclose(ours, theirs)
    for mine, expected in zip(
        torch.autograd.grad(ours * 3, (hidden, head)),
        torch.autograd.grad(theirs * 3, (hidden, head)),
        strict=True,
    ):
        assert torch.allclose(mine, expected)


def weighted_plain(hidden: Tensor, head: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    log_p = torch.log_softmax((hidden @ head.T).flatten(0, 1), -1)
    counted = labels.flatten() >= 0
    chosen = log_p[counted].gather(1, labels.flatten()[counted].unsqueeze(1)).squeeze(1)
    return (chosen * weights).sum()


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_tokens_may_weigh_unequally(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(loss_module, "logits_budget", lambda device: chunk * 11)
    hidden, head, labels = problem(9, 11, 3, torch.float64)
    found = token_log_probs(hidden, head, labels)
    weights = torch.randn(len(found.log_p_N), dtype=torch.float64)
    ours, theirs = (found.log_p_N * weights).sum(), weighted_plain(hidden, head, labels, weights)
    torch.testing.assert_close(ours, theirs)
    for mine, expected in zip(
        torch.autograd.grad(ours, (hidden, head)),
        torch.autograd.grad(theirs, (hidden, head)),
        strict=True,
    ):
        torch.testing.assert_close(mine, expected)
    assert torch.equal(labels.flatten()[found.rows_N], labels[labels >= 0])
    p = torch.softmax((hidden @ head.T).flatten(0, 1)[found.rows_N], -1)
    torch.testing.assert_close(found.entropy_N, torch.special.entr(p).sum(-1))


@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_any_cost_of_tokens_may_be_taken_in_chunks(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(loss_module, "logits_budget", lambda device: chunk * 11)
    hidden, head, labels = problem(9, 11, 5, torch.float64)

    def cost(hidden: Tensor, head: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        nll = cross_entropy(hidden @ head.T, labels, reduction="none")
        return torch.stack([(nll * (1 + rows)).sum(), rows.sum().double()])

    counted = (labels.flatten() >= 0).nonzero().squeeze(1)
    ours, rows = chunked_loss(cost, hidden, head, labels)
    theirs = cost(hidden.flatten(0, 1)[counted], head, labels.flatten()[counted], counted)[0]
    torch.testing.assert_close(ours, theirs)
    assert rows == counted.sum()
    for mine, expected in zip(
        torch.autograd.grad(ours * 2, (hidden, head)),
        torch.autograd.grad(theirs * 2, (hidden, head)),
        strict=True,
    ):
        torch.testing.assert_close(mine, expected)
    with torch.no_grad():
        torch.testing.assert_close(chunked_loss(cost, hidden, head, labels)[0], theirs)


def test_without_labels_the_loss_is_zero_and_so_are_its_gradients() -> None:
    hidden, head, labels = problem(4, 9, 0, torch.float32)
    value = loss_sum(hidden, head, torch.full_like(labels, IGNORE))
    value.backward()
    assert value.item() == 0
    assert hidden.grad is not None and not hidden.grad.any()


def test_validation_needs_no_gradients_and_gives_the_same_number() -> None:
    hidden, head, labels = problem(12, 33, 1, torch.float32)
    with torch.no_grad():
        assert torch.allclose(loss_sum(hidden, head, labels), plain(hidden, head, labels))


def test_under_autocast_products_are_bf16_and_the_sum_is_fp32() -> None:
    hidden, head, labels = problem(12, 33, 2, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss_sum(hidden, head, labels)
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(plain(hidden, head, labels).item(), rel=0.02)
    assert head.grad is not None and head.grad.dtype == torch.float32


class Largest(TorchDispatchMode):
    """The elements of the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, Tensor):
                self.elements = max(self.elements, value.numel())
        return result


def test_whole_logits_never_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_module, "logits_budget", lambda device: 700)
    hidden, head, labels = problem(64, 10, 3, torch.float32)
    with Largest() as largest:
        loss_sum(hidden, head, labels).backward()
    assert largest.elements == hidden.numel() < 128 * 10


def test_a_tied_weight_gets_the_gradients_of_both_uses() -> None:
    _, head, labels = problem(12, 33, 5, torch.float64)
    ids = torch.randint(33, (2, 12))
    (ours,) = torch.autograd.grad(loss_sum(head[ids], head, labels), head)
    (theirs,) = torch.autograd.grad(plain(head[ids], head, labels), head)
    assert torch.allclose(ours, theirs)


def test_a_frozen_head_gets_no_gradient_and_the_hidden_states_theirs() -> None:
    hidden, head, labels = problem(12, 33, 6, torch.float64)
    head.requires_grad_(False)
    loss_sum(hidden, head, labels).backward()
    (theirs,) = torch.autograd.grad(plain(hidden, head, labels), hidden)
    assert head.grad is None
    assert hidden.grad is not None and torch.allclose(hidden.grad, theirs)


def test_token_losses_sum_to_the_loss_and_are_zero_where_nothing_is_asked() -> None:
    hidden, head, labels = problem(12, 33, 4, torch.float32)
    nll = token_nll(hidden, head, labels)
    assert nll.shape == labels.shape
    assert not nll[labels == IGNORE].any()
    assert torch.allclose(nll.sum(), plain(hidden, head, labels))
