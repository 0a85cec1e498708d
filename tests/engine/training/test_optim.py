"""Which parameter is trained by what, and a state that goes on to the last bit."""

from copy import deepcopy

import pytest
import torch

from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.sections.optim_config import OptimConfig
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.training.optim import build_optimizers


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


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_training_goes_on_from_a_saved_state_to_the_last_bit(name: str) -> None:
    config = OptimConfig.model_validate({"name": name})
    ids = torch.randint(64, (2, 8))

    def step(decoder: Decoder, optimizers: list[torch.optim.Optimizer]) -> None:
        decoder(ids).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    first, second = model(), model()
    optimizers = build_optimizers(first, config, peak_lr=1e-2)
    step(first, optimizers)
    second.load_state_dict(first.state_dict())
    others = build_optimizers(second, config, peak_lr=1e-2)
    for optimizer, other in zip(optimizers, others, strict=True):
        state = deepcopy(optimizer.state_dict())
        values = [value for entry in state["state"].values() for value in entry.values()]
        assert values and all(isinstance(value, torch.Tensor) for value in values)
        other.load_state_dict(state)
    step(first, optimizers)
    step(second, others)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
