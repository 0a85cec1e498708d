"""Deep probes against plain definitions, on models of several kinds, which never notice."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lmm_tui.metrics.deep.activations import dead_share, effective_rank, rms_and_outlier
from lmm_tui.metrics.deep.attention import AttentionWatch, attention_numbers
from lmm_tui.metrics.deep.calibration import expected_calibration_error, log_normaliser
from lmm_tui.metrics.deep.deep_probe import DeepProbe, blocks_of
from lmm_tui.metrics.step.noise_scale import NoiseScale, noise_parts
from lmm_tui.metrics.step.update_ratio import UpdateRatios


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestAttention:
    @pytest.mark.parametrize("causal", [False, True])
    def test_is_what_plain_attention_computes(self, causal: bool) -> None:
        q, k = gaussian(4, 12, 8), gaussian(2, 12, 8, seed=1)
        logits = torch.einsum("htc,hsc->hts", q, k.repeat_interleave(2, 0)) / math.sqrt(8)
        if causal:
            logits = logits.masked_fill(torch.ones(12, 12).triu(1).bool(), -math.inf)
        p = logits.softmax(-1).double().numpy()
        entropy = -np.where(p > 0, p * np.log(np.maximum(p, 1e-300)), 0).sum(-1).mean()
        found = attention_numbers(q, k, causal=causal)
        assert found.tolist() == pytest.approx([float(logits.max()), float(entropy)], rel=1e-4)

    def test_masked_keys_count_for_nothing(self) -> None:
        q, k = gaussian(2, 6, 8), gaussian(2, 6, 8, seed=1)
        k[:, 3] = 1e4
        mask = torch.ones(6, 6, dtype=torch.bool)
        mask[:, 3] = False
        others = attention_numbers(q, k[:, [0, 1, 2, 4, 5]])
        assert torch.allclose(attention_numbers(q, k, mask), others)
        added = torch.zeros(6, 6).masked_fill(~mask, -math.inf)
        assert torch.allclose(attention_numbers(q, k, added), others)

    def test_the_watch_changes_no_result(self) -> None:
        q = gaussian(2, 4, 16, 8)
        seen: list[Tensor] = []
        plain = F.scaled_dot_product_attention(q, q, q, is_causal=True)
        with AttentionWatch(seen.append):
            watched = F.scaled_dot_product_attention(q, q, q, is_causal=True)
        assert torch.equal(plain, watched) and len(seen) == 1
        assert torch.allclose(seen[0], attention_numbers(q[0], q[0], causal=True))


class TestActivations:
    def test_rms_and_outlier(self) -> None:
        h = gaussian(64, 16)
        h[3, 5] = -40.0
        rms = float(np.sqrt(np.mean(h.double().numpy() ** 2)))
        assert rms_and_outlier(h).tolist() == pytest.approx([rms, 40 / rms], rel=1e-5)

    def test_dead_units_are_those_that_never_answer(self) -> None:
        a = gaussian(32, 10)
        a[:, [2, 7]] *= 1e-6
        assert float(dead_share(a)) == pytest.approx(0.2)

    @given(rank=st.integers(1, 12))
    @settings(max_examples=12, deadline=None)
    def test_effective_rank_of_equal_directions_is_their_number(self, rank: int) -> None:
        basis, _ = torch.linalg.qr(gaussian(32, 32, seed=rank))
        assert float(effective_rank(basis[:, :rank] @ basis[:rank])) == pytest.approx(
            rank, rel=1e-3
        )

    def test_effective_rank_is_roy_and_vetterli_s(self) -> None:
        h = gaussian(40, 24) * torch.linspace(0.1, 4, 24)
        sigma = np.linalg.svd(h.double().numpy(), compute_uv=False)
        p = sigma / sigma.sum()
        assert float(effective_rank(h)) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-4)


class TestCalibration:
    def test_equals_the_definition(self) -> None:
        logits, labels = 3 * gaussian(400, 7), torch.arange(400) % 7
        p = logits.double().softmax(-1).numpy()
        confidence, right = p.max(1), p.argmax(1) == labels.numpy()
        expected = 0.0
        for low in np.arange(15) / 15:
            inside = (confidence > low) & (confidence <= low + 1 / 15)
            if inside.any():
                gap = abs(right[inside].mean() - confidence[inside].mean())
                expected += inside.mean() * gap
        found = float(expected_calibration_error(logits, labels))
        assert found == pytest.approx(expected, abs=1e-4)

    def test_sure_and_right_is_0_sure_and_wrong_is_1(self) -> None:
        logits = 100 * torch.eye(5)
        assert float(expected_calibration_error(logits, torch.arange(5))) < 1e-6
        assert float(expected_calibration_error(logits, torch.arange(5).roll(1))) > 1 - 1e-6

    def test_the_normaliser_moves_with_the_logits(self) -> None:
        logits = gaussian(50, 9)
        moved = log_normaliser(logits + 3) - log_normaliser(logits)
        assert float(moved) == pytest.approx(3, abs=1e-5)


class TestNoiseScale:
    def test_parts_are_exact_for_exact_expectations(self) -> None:
        found = noise_parts(4 + 90 / 8, 8, 4 + 90 / 64, 64)
        assert found == pytest.approx((4, 90))

    def test_the_scale_is_found_from_noisy_gradients(self) -> None:
        """Per-example gradients g + noise: |g|² is 1, tr(Σ) is 20."""
        rng = np.random.default_rng(0)
        g, scale, last = np.full(16, 0.25), NoiseScale(), []
        for _ in range(400):
            each = g + rng.normal(0, math.sqrt(20 / 16), (64, 16))
            small, big = each[:8].mean(0), each.mean(0)
            last.append(scale.add((small**2).sum(), 8, (big**2).sum(), 64))
        assert np.median([one for one in last[50:] if one]) == pytest.approx(20, rel=0.25)

    def test_a_resumed_average_goes_on(self) -> None:
        first, second = NoiseScale(), NoiseScale()
        first.add(10, 2, 6, 8)
        second.load_state_dict(first.state_dict())
        assert first.add(9, 2, 5, 8) == second.add(9, 2, 5, 8)

    def test_a_gradient_that_is_no_number_is_left_out(self) -> None:
        scale = NoiseScale()
        before = scale.add(10, 2, 6, 8)
        assert scale.add(math.nan, 2, math.inf, 8) == before


class TestFromOutside:
    def test_update_ratio_by_layer(self) -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        ratios = UpdateRatios(model.named_parameters())
        before = [parameter.detach().clone() for parameter in model[0].parameters()]
        optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
        model(gaussian(8, 4)).square().sum().backward()
        ratios.before()
        optimizer.step()
        after = [parameter.detach() for parameter in model[0].parameters()]
        pairs = zip(after, before, strict=True)
        moved = math.sqrt(sum(float((a - b).square().sum()) for a, b in pairs))
        size = math.sqrt(sum(float(b.square().sum()) for b in before))
        assert ratios.after().tolist() == pytest.approx([moved / size, 0.0])

    def test_a_transformers_model_has_all_numbers_and_never_notices(self) -> None:
        transformers = pytest.importorskip("transformers")
        config = transformers.LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2,
        )  # fmt: skip
        model = transformers.LlamaForCausalLM(config)
        ids = torch.arange(24).view(2, 12)
        plain = model(ids).logits
        probe = DeepProbe(model)
        with probe.watching():
            watched = model(ids).logits
        found = probe.read()
        assert torch.equal(plain, watched)
        assert {name.split("/")[1] for name in found} == {
            "attn_logit_max", "attn_entropy", "act_rms", "act_outlier", "dead_units",
            "effective_rank",
        }  # fmt: skip
        assert len(found) == 12 and all(math.isfinite(value) for value in found.values())
        assert not any(module._forward_hooks for module in model.modules())

    def test_wrapped_models_have_the_same_blocks(self) -> None:
        class Wrapped(nn.Module):
            def __init__(self, module: nn.Module) -> None:
                super().__init__()
                self.module = module

        plain = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh()))
        assert list(blocks_of(Wrapped(plain))) == list(blocks_of(plain)) == ["0", "1"]

    def test_values_that_are_no_numbers_break_nothing(self) -> None:
        model = nn.Sequential(nn.Linear(4, 4))
        probe = DeepProbe(model)
        with probe.watching():
            model(torch.full((2, 3, 4), math.nan))
        assert math.isnan(probe.read()["deep/act_rms/0"])
