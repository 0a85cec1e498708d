"""Many answers at once: each as if it were alone, reproducible, and without a trace."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from lmm_tui.engine import device
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.generation import draw, turns
from lmm_tui.engine.generation.generate import GenerateError, generate
from lmm_tui.engine.generation.rollout import Rollouts, rollout
from lmm_tui.engine.model.decoder import Decoder

PROMPTS = [[5, 6, 7], [9], [1, 2, 3, 4, 5, 6, 7, 8], [30, 31]]


@pytest.fixture(scope="module")
def model() -> Decoder:
    decoder = Decoder(ModelShape(64, 32, 2, 4, 2, 8, 64, max_positions=48))
    decoder.init_weights(0)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            # Larger than at the start, so that what comes next depends on what was before.
            parameter.mul_(5 if "_proj" in name else 1)
    return decoder


def answers(model: Decoder, prompts: list[list[int]], **changes: object) -> Rollouts:
    options = {
        "samples": 1,
        "max_tokens": 12,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": 0,
        "stop_ids": (),
    }
    return rollout(model, prompts, **options | changes)  # type: ignore[arg-type]


@given(
    prompts=st.lists(st.lists(st.integers(0, 63), min_size=1, max_size=12), min_size=1, max_size=5),
    stop_ids=st.sets(st.integers(0, 63), max_size=12),
    samples=st.integers(1, 3),
)
@settings(deadline=None, max_examples=25)
def test_greedy_answers_are_those_of_generate_one_by_one(
    model: Decoder, prompts: list[list[int]], stop_ids: set[int], samples: int
) -> None:
    together = answers(model, prompts, stop_ids=stop_ids, samples=samples)
    greedy = {"max_tokens": 12, "temperature": 0, "top_p": 1, "seed": 0, "stop_ids": stop_ids}
    alone = [list(generate(model, prompt, **greedy)) for prompt in prompts]  # type: ignore[arg-type]
    for row, (ids, ended) in enumerate(zip(together.ids, together.ended, strict=True)):
        assert ids[: len(ids) - ended] == alone[row // samples]
        assert ended == (ids[-1] in stop_ids)
        assert ended or len(ids) == 12


def test_an_answer_ends_with_its_stop_id(model: Decoder) -> None:
    warm = answers(model, PROMPTS, samples=8, temperature=1.0, stop_ids=range(8))
    assert len(warm.ids) == 32 and 0 < sum(warm.ended) < 32
    for ids, ended in zip(warm.ids, warm.ended, strict=True):
        assert not any(token < 8 for token in ids[:-1])
        assert (ids[-1] < 8) == ended


def test_answers_do_not_depend_on_how_often_ends_are_looked_for(
    model: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU the host looks every few turns, in between ended rows go on."""
    options = {"samples": 5, "temperature": 1.0, "stop_ids": range(0, 64, 5)}
    every_turn = answers(model, PROMPTS, **options)
    looked: list[int] = []
    real = torch.Tensor.nonzero

    def nonzero(tensor: torch.Tensor) -> torch.Tensor:
        looked.append(len(tensor))
        return real(tensor)

    monkeypatch.setattr(turns, "is_asynchronous", lambda device: True)
    monkeypatch.setattr(torch.Tensor, "nonzero", nonzero)
    seldom = answers(model, PROMPTS, **options)
    assert looked[0] == 20 and len(looked) <= 2  # The second finds rows that make up a half.
    assert (seldom.ids, seldom.ended) == (every_turn.ids, every_turn.ended)
    for one, other in zip(seldom.log_probs, every_turn.log_probs, strict=True):
        torch.testing.assert_close(one, other)


def traced(turn: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Repeats operations on the same memory, without Python, as a CUDA graph does."""
    graphs: list[Callable[[], object]] = []

    def repeat() -> None:
        if graphs:
            graphs[0]()
        else:
            graphs.append(make_fx(partial(turn))())  # Which runs it.

    return repeat


@pytest.fixture
def like_a_gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Generation as on CUDA; how many rows were drawn by Python: at first, then in recordings."""
    rows: list[int] = []

    def drawn(logits: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, torch.Tensor]:
        rows.append(len(logits))
        return draw.draw(logits, *rest)

    monkeypatch.setattr(turns, "is_asynchronous", lambda device: True)
    monkeypatch.setattr(turns, "repeatable", traced)
    monkeypatch.setattr(turns, "draw", drawn)
    monkeypatch.setattr(draw, "sort_rows", lambda rows: rows.sort().values)  # On a CPU numpy's.
    return rows


@pytest.mark.parametrize("samples", [1, 3])
def test_a_turn_that_is_recorded_and_repeated_writes_the_same(
    model: Decoder, request: pytest.FixtureRequest, samples: int
) -> None:
    options = {"samples": samples, "temperature": 1.0, "top_p": 0.9, "max_tokens": 32}
    stop_ids = range(0, 64, 8)
    expected = answers(model, PROMPTS, **options, stop_ids=stop_ids)
    rows = request.getfixturevalue("like_a_gpu")
    found = answers(model, PROMPTS, **options, stop_ids=stop_ids)
    assert (found.ids, found.ended) == (expected.ids, expected.ended)
    for one, other in zip(found.log_probs, expected.log_probs, strict=True):
        torch.testing.assert_close(one, other)
    # Rows that ended were dropped; each number of rows is recorded anew, so there are few of them.
    first, *recorded = rows
    assert first == recorded[0] and (len(recorded) > 1 or samples == 1)
    assert all(
        after.bit_count() == 1 and after <= before / 2 for before, after in pairwise(recorded)
    )


def test_a_text_longer_than_the_context_is_the_same_when_turns_are_repeated(
    model: Decoder, request: pytest.FixtureRequest
) -> None:
    options = {"max_tokens": 100, "temperature": 0, "top_p": 1, "seed": 0}
    expected = list(generate(model, [1, 2, 3], **options))  # type: ignore[arg-type]
    assert request.getfixturevalue("like_a_gpu") == []
    assert list(generate(model, [1, 2, 3], **options)) == expected  # type: ignore[arg-type]


class Casts(TorchDispatchMode):
    """Counts the layers' matrices that are cast."""

    def __init__(self, model: Decoder) -> None:
        super().__init__()
        self.count = 0
        layers = model.model.layers.parameters()
        self._matrices = {parameter.data_ptr() for parameter in layers if parameter.ndim == 2}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func is torch.ops.aten._to_copy.default:
            self.count += args[0].data_ptr() in self._matrices
        return func(*args, **(kwargs or {}))


def test_in_bf16_weights_are_cast_once_for_all_turns(model: Decoder) -> None:
    matrices = sum(parameter.ndim == 2 for parameter in model.model.layers.parameters())
    with device.simulated("cuda"), torch.autocast("cpu", torch.bfloat16), Casts(model) as casts:
        many = answers(model, PROMPTS, max_tokens=9, samples=2)
        assert casts.count == matrices
        alone = generate(model, PROMPTS[0], max_tokens=9, temperature=0, top_p=1, seed=0)
        assert list(alone) == many.ids[0]
        assert casts.count == 2 * matrices
        model.backbone(torch.tensor([PROMPTS[0]]))
        assert casts.count == 3 * matrices  # In training weights change from pass to pass.


def test_log_probs_are_those_of_the_whole_forward_pass(model: Decoder) -> None:
    warm = answers(model, PROMPTS, samples=3, temperature=0.7, top_p=0.9, stop_ids=range(8))
    for at, (ids, log_probs) in enumerate(zip(warm.ids, warm.log_probs, strict=True)):
        prompt = PROMPTS[at // 3]
        with torch.no_grad():
            log_p = (model(torch.tensor([prompt + ids]))[0] / 0.7).log_softmax(-1)
        expected = log_p[len(prompt) - 1 : -1].gather(1, torch.tensor(ids).unsqueeze(1)).squeeze(1)
        assert log_probs.dtype == torch.float32
        torch.testing.assert_close(log_probs, expected, atol=1e-5, rtol=1e-5)


def test_equal_seeds_give_equal_answers_and_others_do_not(model: Decoder) -> None:
    def warm(seed: int) -> list[list[int]]:
        return answers(model, PROMPTS, samples=4, temperature=1.0, seed=seed).ids

    assert warm(3) == warm(3) != warm(4)
    assert len({tuple(ids) for ids in warm(3)[:4]}) > 1


def test_who_else_is_in_the_batch_changes_no_answer(model: Decoder) -> None:
    """Rows that end leave the batch, and longer prompts pad the others."""
    changes = {"samples": 4, "temperature": 1.0, "top_p": 0.9, "stop_ids": range(8)}
    few, many = answers(model, PROMPTS[:2], **changes), answers(model, PROMPTS, **changes)
    assert few.ids == many.ids[:8]
    assert few.ended == many.ended[:8]


def test_what_is_drawn_follows_the_models_probabilities(model: Decoder) -> None:
    with torch.no_grad():
        expected = model(torch.tensor([[5, 6, 7]]))[0, -1].softmax(-1)
    drawn = answers(model, [[5, 6, 7]], samples=4000, max_tokens=1, temperature=1.0)
    counts = torch.bincount(torch.tensor(drawn.ids).flatten(), minlength=64)
    deviation = (expected * (1 - expected) / 4000).sqrt()
    assert ((counts / 4000 - expected).abs() < 5 * deviation + 1e-3).all()


def test_rollouts_leave_mode_and_random_numbers_alone(model: Decoder) -> None:
    model.train()
    model.model.layers[1].eval()
    before = device.rng_state()
    warm = answers(model, PROMPTS, samples=2, temperature=1.0)
    assert [layer.training for layer in model.model.layers] == [True, False]
    assert all(torch.equal(before[name], state) for name, state in device.rng_state().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    # What comes back may be used in training.
    weights = torch.ones(12, requires_grad=True)
    (weights * warm.log_probs[0]).sum().backward()
    model.train()


def test_what_cannot_be_answered_is_refused(model: Decoder) -> None:
    with pytest.raises(GenerateError, match="empty"):
        answers(model, [[1], []])
    with pytest.raises(GenerateError, match="40 tokens and an answer of 12 .* 48 positions"):
        answers(model, [[1], [2] * 40])
    diverged = Decoder(model.shape)
    diverged.load_state_dict(
        model.state_dict() | {"model.norm.weight": torch.full((32,), math.nan)}
    )
    for temperature in (0.0, 1.0):
        with pytest.raises(GenerateError, match="diverged"):
            answers(diverged, PROMPTS, temperature=temperature)
