"""The decoder: Qwen3 weight for weight, cached or packed or whole the same."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lmm_tui.engine.config.model_shape import PRESETS, ModelShape
from lmm_tui.engine.model.architecture import build
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.kv_cache import KVCache
from lmm_tui.engine.model.layout import Segments
from lmm_tui.engine.model.primitives import RMSNorm
from lmm_tui.engine.model.self_attention import _same_segment, rotary_tables

SHAPE = ModelShape(97, 48, 3, 4, 2, 16, 80, max_positions=64)


def decoder(shape: ModelShape = SHAPE, seed: int = 0) -> Decoder:
    model = Decoder(shape)
    model.init_weights(seed)
    return model


def ids(batch: int = 2, length: int = 20) -> Tensor:
    return torch.randint(97, (batch, length), generator=torch.Generator().manual_seed(5))


@pytest.mark.slow
@pytest.mark.parametrize("tie", [True, False])
def test_logits_equal_those_of_transformers_qwen3(tie: bool) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    theirs = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=97,
            hidden_size=48,
            intermediate_size=80,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=64,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            tie_word_embeddings=tie,
            initializer_range=0.2,
        )
    ).eval()
    for parameter in theirs.parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    ours = Decoder(ModelShape(97, 48, 3, 4, 2, 16, 80, max_positions=64, tie_embeddings=tie))
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        expected = theirs(ids()).logits
        assert (ours(ids()) - expected).abs().max() <= 1e-5
        cache = KVCache(ours.shape, batch=2, capacity=20, device=torch.device("cpu"))
        parts = [ours.head(ours.backbone(p, cache=cache)) for p in ids().split([7, 1, 12], dim=1)]
    assert (torch.cat(parts, dim=1) - expected).abs().max() <= 1e-5
    theirs.load_state_dict(ours.state_dict(), strict=not tie)
    with torch.no_grad():
        assert torch.equal(theirs(ids()).logits, expected)


def test_the_first_loss_is_that_of_guessing() -> None:
    for preset in ("nano", "tiny"):
        shape = PRESETS[preset]
        model = decoder(shape)
        text = torch.randint(shape.vocab_size, (2, 64))
        loss = torch.nn.functional.cross_entropy(
            model(text)[:, :-1].flatten(0, 1), text[:, 1:].flatten()
        )
        assert abs(loss.item() - math.log(shape.vocab_size)) < 0.2


def test_weights_depend_on_their_seed_and_on_nothing_else() -> None:
    torch.manual_seed(1)
    first, state = decoder(seed=3), torch.get_rng_state()
    torch.manual_seed(2)
    second = decoder(seed=3)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )
    assert not torch.equal(first.head_weight, decoder(seed=4).head_weight)
    torch.set_rng_state(state)
    decoder(seed=3)
    assert torch.equal(torch.get_rng_state(), state)


def test_our_norm_has_the_value_and_the_gradients_of_torchs() -> None:
    norm = RMSNorm(16, 1e-6).double()
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(2, 3, 16, dtype=torch.float64, requires_grad=True)
    theirs = torch.nn.functional.rms_norm(x, (16,), norm.weight, 1e-6)
    torch.testing.assert_close(norm(x), theirs)
    weights = torch.randn(2, 3, 16, dtype=torch.float64)
    for mine, other in zip(
        torch.autograd.grad((norm(x) * weights).sum(), (x, norm.weight)),
        torch.autograd.grad((theirs * weights).sum(), (x, norm.weight)),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


def test_no_token_sees_the_future() -> None:
    model, text = decoder(), ids(1)
    changed = text.clone()
    changed[0, 12:] = (changed[0, 12:] + 1) % 97
    with torch.no_grad():
        before, after = model(text), model(changed)
    assert torch.equal(before[0, :12], after[0, :12])
    assert not torch.equal(before[0, 12:], after[0, 12:])


def test_packed_sequences_stay_apart() -> None:
    model = decoder()
    first, second = ids(1, 9), ids(2, 6)[1:]
    packed = torch.cat([first, second], dim=1)
    positions = torch.cat([torch.arange(9), torch.arange(6)])[None]
    segments = torch.cat([torch.full((9,), 1), torch.full((6,), 2)])[None]
    with torch.no_grad():
        together = model.backbone(packed, positions=positions, segments=Segments.of(segments))
        alone = torch.cat([model.backbone(first), model.backbone(second)], dim=1)
    assert torch.allclose(together, alone, atol=1e-5)


@given(
    segments=st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=2, max_size=2)
)
@settings(deadline=None, max_examples=20)
def test_a_mask_and_lengths_keep_sequences_apart_alike(
    segments: tuple[list[int], ...],
) -> None:
    """A CPU takes lengths, a GPU and a compiled model a mask."""
    rows = [
        torch.repeat_interleave(torch.arange(1, len(row) + 1), torch.tensor(row))
        for row in segments
    ]
    segments_BxT = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    attention, length = decoder().model.layers[0].self_attn, segments_BxT.shape[1]
    x = torch.randn(2, length, 48, requires_grad=True)
    cos, sin = (table[:length].unsqueeze(-2) for table in rotary_tables(SHAPE))
    results = []
    for mask in (Segments.of(segments_BxT).flat, _same_segment(segments_BxT)):
        y = attention(x, cos, sin, mask, None)
        results.append((y, *torch.autograd.grad(y.square().sum(), x)))
    for with_lengths, with_mask in zip(*results, strict=True):
        torch.testing.assert_close(with_lengths, with_mask)


def test_a_tied_model_takes_its_head_twice_and_gives_it_once() -> None:
    model = decoder()
    state = model.state_dict()
    assert "lm_head.weight" not in state
    Decoder(SHAPE).load_state_dict({**state, "lm_head.weight": model.head_weight})
    with pytest.raises(RuntimeError, match="lm_head"):
        Decoder(SHAPE).load_state_dict({**state, "lm_head.weight": model.head_weight + 1})


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_shape_counts_the_parameters_that_its_model_has(preset: str) -> None:
    with torch.device("meta"):
        model = build(PRESETS[preset])
    assert sum(p.numel() for p in model.parameters()) == PRESETS[preset].parameters


def test_only_distances_between_positions_matter() -> None:
    model, text = decoder(), ids(2, 9)
    with torch.no_grad():
        at_start = model.backbone(text)
        shifted = model.backbone(text, positions=torch.arange(9) + torch.tensor([[0], [40]]))
        stretched = model.backbone(text, positions=torch.arange(9) * 5)
    assert torch.allclose(shifted, at_start, atol=1e-5)
    assert (stretched - at_start).abs().max() > 1e-3


@pytest.mark.slow
def test_the_backbone_compiles_without_a_graph_break() -> None:
    model, text = decoder(), ids()
    segments = torch.arange(20).div(7, rounding_mode="floor").expand(2, -1)
    expected, apart = model.backbone(text), model.backbone(text, segments=Segments.of(segments))
    # Traced whole, but not turned into code: that takes a minute.
    model.model.compile(backend="eager", fullgraph=True)
    hidden = model.backbone(text)
    assert torch.allclose(hidden, expected, atol=1e-6)
    assert torch.allclose(model.backbone(text, segments=Segments.of(segments)), apart, atol=1e-5)
    hidden.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.state_dict().keys() == decoder().state_dict().keys()
