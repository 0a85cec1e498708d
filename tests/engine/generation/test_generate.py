"""Sampling from a live model: reproducible, within its nucleus, and without a trace."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm_tui.engine import device
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.generation.draw import draw
from lmm_tui.engine.generation.generate import GenerateError, generate, token_losses
from lmm_tui.engine.model.decoder import Decoder


@pytest.fixture(scope="module")
def model() -> Decoder:
    decoder = Decoder(ModelShape(64, 32, 2, 4, 2, 8, 64, max_positions=32))
    decoder.init_weights(0)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            # Larger than at the start, so that what comes next depends on what was before.
            parameter.mul_(5 if "_proj" in name else 1)
    return decoder


def text(model: Decoder, prompt: list[int], **changes: object) -> list[int]:
    options = {"max_tokens": 12, "temperature": 0.0, "top_p": 1.0, "seed": 0} | changes
    return list(generate(model, prompt, **options))  # type: ignore[arg-type]


def test_greedy_text_is_that_of_the_uncached_model(model: Decoder) -> None:
    context = [5, 6, 7]
    with torch.no_grad():
        for _ in range(12):
            context.append(int(model(torch.tensor([context]))[0, -1].argmax()))
    assert text(model, [5, 6, 7]) == context[3:]


def test_equal_seeds_give_equal_texts_and_others_do_not(model: Decoder) -> None:
    warm = {"temperature": 1.0}
    assert text(model, [1], seed=4, **warm) == text(model, [1], seed=4, **warm)
    assert text(model, [1], seed=4, **warm) != text(model, [1], seed=5, **warm)


def test_generating_leaves_mode_and_random_numbers_alone(model: Decoder) -> None:
    model.train()
    model.model.layers[1].eval()
    before = device.rng_state()
    for _ in generate(model, [1, 2], max_tokens=3, temperature=1.0, top_p=0.9, seed=0):
        assert torch.is_grad_enabled()
        assert [layer.training for layer in model.model.layers] == [True, False]
    token_losses(model, [1, 2, 3])
    assert [layer.training for layer in model.model.layers] == [True, False]
    assert all(torch.equal(before[name], state) for name, state in device.rng_state().items())
    model.train()


def test_a_stop_token_ends_the_text_and_is_not_in_it(model: Decoder) -> None:
    whole = text(model, [3])
    stop = whole[4]
    assert text(model, [3], stop_ids=(stop,)) == whole[: whole.index(stop)]


def test_a_text_longer_than_the_context_goes_on(model: Decoder) -> None:
    ids = [index * 7 % 64 for index in range(60)]
    assert len(text(model, ids, max_tokens=50)) == 50
    assert text(model, ids, max_tokens=1) == text(model, ids[-32:], max_tokens=1)
    losses = token_losses(model, ids)
    assert len(losses) == 59
    assert losses[32:] == pytest.approx(token_losses(model, ids[32:]), abs=1e-5)


def test_token_losses_are_those_of_the_whole_forward_pass(model: Decoder) -> None:
    ids = [4, 8, 15, 16, 23, 42]
    with torch.no_grad():
        log_p = model(torch.tensor([ids[:-1]]))[0].log_softmax(-1)
    expected = [-log_p[i, token].item() for i, token in enumerate(ids[1:])]
    assert token_losses(model, ids) == pytest.approx(expected, abs=1e-5)


@given(
    p=st.lists(st.floats(0.01, 1), min_size=2, max_size=8),
    top_p=st.floats(0.01, 1),
    uniform=st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=20, max_size=20),
)
@settings(deadline=None)
def test_only_the_nucleus_is_ever_drawn(p: list[float], top_p: float, uniform: list[float]) -> None:
    mass = torch.tensor(p, dtype=torch.float64)
    mass /= mass.sum()
    logits = mass.log().float()  # In which what nearly ties does tie.
    more_likely = (mass * (logits > logits.unsqueeze(1))).sum(1)
    nucleus = set((more_likely < top_p + 1e-6).nonzero().flatten().tolist())
    drawn, log_p = draw(logits.expand(20, -1), 1.0, top_p, torch.tensor(uniform))
    assert set(drawn.tolist()) <= nucleus
    torch.testing.assert_close(log_p, logits.log_softmax(-1)[drawn])


def test_a_row_is_drawn_as_it_is_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 50, generator=generator)
    uniform = torch.rand(9, generator=generator)
    together, _ = draw(logits, 0.7, 0.8, uniform)
    alone = [draw(row, 0.7, 0.8, number)[0] for row, number in zip(logits, uniform, strict=True)]
    assert together.tolist() == [int(token) for token in alone]


def test_nothing_comes_from_an_empty_prompt_or_a_diverged_model(model: Decoder) -> None:
    with pytest.raises(GenerateError, match="prompt is empty"):
        text(model, [])
    diverged = Decoder(model.shape)
    diverged.load_state_dict(
        model.state_dict() | {"model.norm.weight": torch.full((32,), math.nan)}
    )
    with pytest.raises(GenerateError, match="diverged"):
        text(diverged, [1])


def test_temperature_flattens_what_is_drawn() -> None:
    logits = torch.tensor([0.0, 1.0])
    generator = torch.Generator().manual_seed(0)

    def share(temperature: float) -> float:
        uniform = torch.rand(1000, generator=generator)
        drawn, _ = draw(logits.expand(1000, -1), temperature, 1.0, uniform)
        return drawn.float().mean().item()

    assert share(1e-6) == 1.0
    for temperature in (0.5, 5.0):
        assert share(temperature) == pytest.approx(1 / (1 + math.exp(-1 / temperature)), abs=0.06)
