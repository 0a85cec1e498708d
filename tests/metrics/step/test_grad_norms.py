"""Gradient norms: exact by layer, and a clip that is PyTorch's to the bit."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lmm_tui.metrics.layers import group_by_layer, strip_wrappers
from lmm_tui.metrics.step.grad_norms import GradNorms


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict(
            {
                "embed_tokens": nn.Embedding(11, 6),
                "layers": nn.ModuleList(nn.Linear(6, 6) for _ in range(3)),
                "norm": nn.LayerNorm(6),
            }
        )
        self.lm_head = nn.Linear(6, 11, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.model["embed_tokens"](ids)
        for layer in self.model["layers"]:
            x = x + torch.tanh(layer(x))
        return self.lm_head(self.model["norm"](x))


def trained_once(scale: float = 1.0) -> Decoder:
    torch.manual_seed(0)
    model = Decoder()
    (model(torch.arange(11)).square().sum() * scale).backward()
    return model


def test_layers_are_named_from_parameters_in_model_order() -> None:
    norms = GradNorms(trained_once().named_parameters())
    assert norms.layers == ("embed", "layers.0", "layers.1", "layers.2", "norm", "head")


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("transformer.h.0.attn.c_attn.weight", "h.0"),
        ("transformer.wte.weight", "embed"),
        ("transformer.ln_f.bias", "norm"),
        ("module._orig_mod.model.layers.12.mlp.experts.3.up_proj.weight", "layers.12"),
        ("base_model.model.model.layers.2.self_attn.q_proj.lora_A.default.weight", "layers.2"),
        ("gpt_neox.embed_out.weight", "head"),
        ("2.weight", "2"),
        ("pooler.dense.weight", "pooler.dense"),
        ("gain", "gain"),
    ],
)
def test_any_models_names_find_a_layer(name: str, layer: str) -> None:
    assert group_by_layer([name]) == {name: layer}


def test_stacks_that_short_labels_would_confuse_keep_their_paths() -> None:
    names = ["encoder.block.0.w", "decoder.block.0.w"]
    assert list(group_by_layer(names).values()) == ["encoder.block.0", "decoder.block.0"]


@pytest.mark.parametrize("name", ["module.a.b", "_orig_mod.a.b", "module._orig_mod.a.b"])
def test_wrappers_are_stripped_and_lookalikes_are_not(name: str) -> None:
    assert strip_wrappers(name) == "a.b"
    assert strip_wrappers("submodule.a.b") == "submodule.a.b"


def test_layer_norms_are_the_norms_of_their_parameters() -> None:
    model = trained_once()
    norms = GradNorms(model.named_parameters()).measure()
    layer = model.model["layers"][1]
    gradients = torch.cat([p.grad.flatten() for p in layer.parameters() if p.grad is not None])
    assert norms.by_layer()["layers.1"] == pytest.approx(gradients.norm().item(), rel=1e-6)


def test_root_of_summed_squares_is_the_global_norm() -> None:
    norms = GradNorms(trained_once().named_parameters()).measure()
    assert norms.layers.square().sum().sqrt().item() == pytest.approx(norms.total.item(), rel=1e-6)


@given(
    scale=st.floats(1e-6, 1e6),
    max_norm=st.sampled_from([1e-3, 0.5, 1.0, 10.0, math.inf]),
)
def test_clip_equals_torch_to_the_bit(scale: float, max_norm: float) -> None:
    ours, theirs = trained_once(scale), trained_once(scale)
    grads = GradNorms(ours.named_parameters())
    total = grads.measure().total
    grads.clip(max_norm)
    expected = nn.utils.clip_grad_norm_(theirs.parameters(), max_norm)
    assert torch.equal(total, expected)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine.grad, other.grad)


def test_a_nan_gradient_shows_where_it_is_and_clips_as_torch_does() -> None:
    model = trained_once()
    model.model["layers"][2].weight.grad[0, 0] = math.nan
    grads = GradNorms(model.named_parameters())
    by_layer = grads.measure().by_layer()
    assert math.isnan(by_layer["layers.2"]) and math.isfinite(by_layer["layers.1"])
    grads.clip(1.0)
    assert model.lm_head.weight.grad.isnan().all()


def test_a_layer_without_gradient_is_zero_and_a_frozen_one_is_not_listed() -> None:
    model = trained_once()
    model.model["layers"][0].requires_grad_(False)
    model.model["layers"][1].weight.grad = None
    model.model["layers"][1].bias.grad = None
    norms = GradNorms(model.named_parameters()).measure().by_layer()
    assert "layers.0" not in norms
    assert norms["layers.1"] == 0.0 and norms["layers.2"] > 0


def test_gradients_that_come_and_go_are_counted_in_the_right_layer() -> None:
    model = trained_once()
    grads = GradNorms(model.named_parameters())
    full = grads.measure().by_layer()
    kept = model.model["embed_tokens"].weight.grad
    model.model["embed_tokens"].weight.grad = None
    without = grads.measure().by_layer()
    assert without == {**full, "embed": 0.0}
    model.model["embed_tokens"].weight.grad = kept
    assert grads.measure().by_layer() == full


def test_no_gradients_at_all_is_all_zero() -> None:
    grads = GradNorms(Decoder().named_parameters())
    norms = grads.measure()
    grads.clip(1.0)
    assert norms.total.item() == 0.0 and not norms.layers.any()
