"""Optimisers and schedules: who decays, who takes what, and the exact ends of every curve."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.config import OptimConfig
from engine.model import Decoder
from engine.optim import build_optimizers
from engine.schedule import lr_curve, lr_factor
from engine.shape import ModelShape


def model() -> Decoder:
    decoder = Decoder(ModelShape(64, 32, 2, 4, 2, 8, 64, tie_embeddings=False))
    decoder.init_weights(0)
    return decoder


def names_in(decoder: Decoder, group: dict[str, object]) -> set[str]:
    chosen = {id(p) for p in group["params"]}  # type: ignore[attr-defined]
    return {name for name, p in decoder.named_parameters() if id(p) in chosen}


def test_matrices_decay_and_norms_do_not() -> None:
    decoder = model()
    (adamw,) = build_optimizers(decoder, OptimConfig(weight_decay=0.2), peak_lr=1e-3)
    decayed, plain = adamw.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.2, 0.0)
    assert names_in(decoder, plain) == {n for n, _ in decoder.named_parameters() if "norm" in n}
    assert len(names_in(decoder, decayed) | names_in(decoder, plain)) == len(
        list(decoder.parameters())
    )
    assert all(group["fused"] and group["initial_lr"] == 1e-3 for group in adamw.param_groups)


def test_muon_takes_hidden_matrices_and_adamw_all_else() -> None:
    decoder = model()
    muon, adamw = build_optimizers(decoder, OptimConfig(name="muon", muon_lr=0.05), peak_lr=1e-3)
    (group,) = muon.param_groups
    assert isinstance(muon, torch.optim.Muon) and group["initial_lr"] == 0.05
    assert all(".layers." in name for name in names_in(decoder, group))
    rest = set().union(*(names_in(decoder, g) for g in adamw.param_groups))
    assert {"model.embed_tokens.weight", "lm_head.weight"} <= rest


def test_frozen_parameters_are_left_out() -> None:
    decoder = model()
    decoder.model.embed_tokens.weight.requires_grad_(False)
    (adamw,) = build_optimizers(decoder, OptimConfig(), peak_lr=1e-3)
    taken = set().union(*(names_in(decoder, group) for group in adamw.param_groups))
    assert "model.embed_tokens.weight" not in taken


@pytest.mark.parametrize(
    ("schedule", "step", "factor"),
    [
        ("cosine", 0, 0.1),
        ("cosine", 9, 1.0),
        ("cosine", 54, 0.55),
        ("cosine", 99, 0.1),
        ("wsd", 9, 1.0),
        ("wsd", 79, 1.0),
        ("wsd", 84, 0.55),
        ("wsd", 99, 0.1),
        ("minimind", 49, 0.55),
        ("minimind", 99, 0.1),
        ("constant", 4, 0.5),
        ("constant", 99, 1.0),
    ],
)
def test_every_schedule_has_its_exact_values(schedule: str, step: int, factor: float) -> None:
    config = OptimConfig(schedule=schedule, warmup_steps=10, min_lr_ratio=0.1, decay_fraction=0.2)
    assert lr_factor(step, 100, config) == pytest.approx(factor, abs=1e-12)


def test_minimind_starts_at_its_peak_without_warm_up() -> None:
    config = OptimConfig(schedule="minimind", warmup_steps=50)
    assert lr_factor(0, 1000, config) == 0.1 + 0.45 * (1 + math.cos(math.pi / 1000))


@given(
    schedule=st.sampled_from(["cosine", "wsd", "minimind", "constant"]),
    warmup=st.integers(0, 300),
    total=st.integers(1, 200),
    ratio=st.floats(0, 1),
)
def test_factors_stay_between_nothing_and_the_peak(
    schedule: str, warmup: int, total: int, ratio: float
) -> None:
    config = OptimConfig(schedule=schedule, warmup_steps=warmup, min_lr_ratio=ratio)
    curve = lr_curve(total, config, points=50)
    assert all(0 <= factor <= 1 for factor in curve)
    assert curve[-1] == lr_factor(total - 1, total, config) == lr_factor(total + 5, total, config)
