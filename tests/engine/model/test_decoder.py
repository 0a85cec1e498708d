"""The decoder: Qwen3 weight for weight, cached or packed or whole the same."""

import math
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from lmm_tui.engine.config.model_shape import PRESETS, ModelShape
from lmm_tui.engine.model.architecture import build
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.kv_cache import KVCache
from lmm_tui.engine.model.layout import Segments
from lmm_tui.engine.model.loss import loss_sum
from lmm_tui.engine.model.primitives import RMSNorm
from lmm_tui.engine.model.self_attention import _same_segment, rotary_tables
from lmm_tui.metrics.deep.deep_probe import DeepProbe

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
def test_layers_compile_once_for_all_of_them_without_a_graph_break(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Traced whole, but not turned into code: that takes a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    torch._dynamo.reset()
    model, text = decoder(), ids()
    segments = torch.arange(20).div(7, rounding_mode="floor").expand(2, -1)
    expected, apart = model.backbone(text), model.backbone(text, segments=Segments.of(segments))
    model.compile_backbone()
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    hidden = model.backbone(text)
    hidden.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before + 1
    assert torch.allclose(hidden, expected, atol=1e-6)
    assert torch.allclose(model.backbone(text, segments=Segments.of(segments)), apart, atol=1e-5)
    other = torch.arange(20).div(3, rounding_mode="floor").expand(2, -1)
    model.backbone(text, segments=Segments.of(other))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before + 2
    assert not torch._dynamo.utils.counters["graph_break"]


def test_a_compiled_layer_leaves_out_most_of_what_is_masked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Values and gradients stay those of the eager pass."""
    graphs: list[torch.fx.GraphModule] = []

    def kept(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=kept))
    torch._dynamo.reset()
    model = decoder(ModelShape(97, 16, 1, 4, 2, 8, 32, max_positions=300))
    length = 259
    text = ids(2, length)

    def passed() -> list[Tensor]:
        model.zero_grad()
        hidden = model.backbone(text)
        hidden.square().sum().backward()
        return [hidden.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]

    eager = passed()
    model.compile_backbone()
    for found, wanted in zip(passed(), eager, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    calls = [n for n in graphs[0].graph.nodes if n.target is F.scaled_dot_product_attention]
    keys = [call.args[1].meta["example_value"].shape[2] for call in calls]
    assert keys == [length // 4, length // 2, length * 3 // 4, length]


@pytest.mark.parametrize("packed", [False, True])
def test_activations_that_are_computed_again_give_the_same_gradients(packed: bool) -> None:
    text = ids()
    numbers = torch.arange(20).div(7, rounding_mode="floor").expand(2, -1)
    segments = Segments.of(numbers) if packed else None

    def gradients(recompute: bool) -> list[torch.Tensor]:
        model = decoder()
        if recompute:
            model.recompute_activations()
        kept: list[int] = []
        with saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
            model.backbone(text, segments=segments).square().sum().backward()
        sizes.append(sum(kept))
        return [parameter.grad for parameter in model.parameters()]

    sizes: list[int] = []
    assert all(map(torch.equal, gradients(False), gradients(True)))
    assert sizes[1] < sizes[0] / 4


def test_in_bf16_activations_stay_so_and_weights_get_fp32_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on CUDA, where autocast would keep the residual stream in fp32."""

    def trained(residual: torch.dtype | None, low: bool) -> tuple[set[torch.dtype], Tensor]:
        monkeypatch.setattr("lmm_tui.engine.model.decoder.residual_dtype", lambda _: residual)
        model, seen = decoder(), set()
        for layer in model.model.layers:
            layer.register_forward_hook(lambda _, __, out: seen.add(out.dtype))
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            hidden = model.backbone(ids())
            loss_sum(hidden, model.head_weight, ids().roll(-1, 1)).backward()
        assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())
        return seen, torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    _, exact = trained(None, low=False)
    kept, theirs = trained(None, low=True)
    narrow, ours = trained(torch.bfloat16, low=True)
    assert (kept, narrow) == ({torch.float32}, {torch.bfloat16})
    off, ours_off = (torch.norm(found - exact) / torch.norm(exact) for found in (theirs, ours))
    assert ours_off < 2 * off < 0.1


def test_packed_rows_on_cuda_are_attended_by_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is CUDA's; here a loop over the sequences that it is told of stands for it."""
    numbers = torch.tensor([[1] * 7 + [2] * 9 + [0] * 4, [1] * 20])
    segments, text = Segments.of(numbers), ids()

    def varlen(q, k, v, starts_q, starts_k, max_q, max_k, *, window_size, enable_gqa):  # type: ignore[no-untyped-def]
        assert window_size == (-1, 0) and max_q == max_k == 20 and enable_gqa
        assert starts_q.dtype == torch.int32 and starts_q is starts_k
        parts = []
        for start, end in pairwise(starts_q.tolist()):
            if start < end:
                one = (x[start:end].transpose(0, 1).unsqueeze(0) for x in (q, k, v))
                y = F.scaled_dot_product_attention(*one, is_causal=True, enable_gqa=True)
                parts.append(y.squeeze(0).transpose(0, 1))
        return torch.cat(parts)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen)
    monkeypatch.setattr("lmm_tui.engine.model.decoder.residual_dtype", lambda _: torch.bfloat16)
    model = decoder()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        wanted = model.backbone(text, segments=segments)
        starts = torch.tensor([0, 7, 16, 20, 40, 40, 40, 40], dtype=torch.int32)
        found = model.backbone(text, segments=replace(segments, bounds=starts))
        probe = DeepProbe(model, ["attention"])
        with probe.watching():
            model.backbone(text, segments=replace(segments, bounds=starts))
        with_hook = probe.read()
        with probe.watching():
            model.backbone(text, segments=segments)
    assert torch.equal(found, wanted)
    assert with_hook == probe.read() and len(with_hook) == 6


def test_the_cache_is_in_the_type_of_the_products() -> None:
    model = decoder()
    assert model.new_cache(1, 4, torch.device("cpu")).keys.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert model.new_cache(1, 4, torch.device("cpu")).keys.dtype == torch.bfloat16
    assert model.state_dict().keys() == decoder().state_dict().keys()
