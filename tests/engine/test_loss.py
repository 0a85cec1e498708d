"""The chunked loss: equal to the plain one, forward and backward, without its logits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from engine import loss as loss_module
from engine.loss import IGNORE, loss_sum, token_nll


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
