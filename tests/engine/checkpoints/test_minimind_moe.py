"""MiniMind's mixture of experts: its `.pth` both ways, and what its own code computes.

`MiniMindMoe` is written after model/model_minimind.py of MiniMind d65ef2c.
"""

import copy
from pathlib import Path

import pytest
import torch
from architectures import model_folder
from torch import Tensor, nn
from torch.nn import functional as F

from lmm_tui.engine.checkpoints.weights import read_weights
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.convert import convert
from lmm_tui.engine.model.architecture import build
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.model.hf_model import HfModel
from lmm_tui.engine.model.loss import loss_sum
from lmm_tui.engine.model.primitives import Linear

DENSE = ModelShape(64, 32, 2, 4, 2, 8, 48)
SHAPE = ModelShape(64, 32, 2, 4, 2, 8, 48, num_experts=4, experts_per_token=1)
IDS = torch.randint(64, (2, 24), generator=torch.Generator().manual_seed(0))


class Expert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = Linear(32, 48), Linear(32, 48)
        self.down_proj = Linear(48, 32)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return found


class MiniMindMoe(nn.Module):
    """The layer in the place of an MLP, and MiniMind's loss of its router."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Linear(32, 4)
        self.experts = nn.ModuleList(Expert() for _ in range(4))
        self.aux_loss = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, 1)
        scores = self.gate(flat).softmax(-1)
        weight, chosen = scores.topk(1, dim=-1)
        weight = weight / (weight.sum(-1, keepdim=True) + 1e-20)
        y = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).any(-1).nonzero().flatten()
            y = y.index_add(0, rows, expert(flat[rows]) * weight[rows])
        load = F.one_hot(chosen, 4).float().mean(0)
        self.aux_loss = (load * scores.mean(0)).sum() * 4 * 5e-4
        return y.view_as(x)


@pytest.fixture(scope="module")
def reference() -> Decoder:
    torch.manual_seed(0)
    model = Decoder(DENSE)
    for layer in model.model.layers:
        layer.mlp = MiniMindMoe()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 else 0.0, 0.2)
    return model


@pytest.fixture(scope="module")
def pth(reference: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("moe") / "full_sft_32_moe.pth"
    state = copy.copy(reference.state_dict())
    torch.save(state | {"lm_head.weight": state["model.embed_tokens.weight"]}, file)
    return file


def test_logits_loss_and_gradients_are_those_of_minimind(reference: Decoder, pth: Path) -> None:
    weights = read_weights(pth)
    assert weights.shape.num_experts == 4 and weights.shape.experts_per_token == 1
    model = weights.model()
    assert isinstance(model, HfModel)
    torch.testing.assert_close(model(IDS), reference(IDS), atol=1e-5, rtol=1e-5)
    reference.zero_grad()
    loss = loss_sum(*model.projection(model.backbone(IDS)), IDS.roll(-1, 1))
    assert model.router_loss is not None
    wanted = F.cross_entropy(
        reference(IDS).flatten(0, 1), IDS.roll(-1, 1).flatten(), reduction="sum"
    )
    balance = sum(layer.mlp.aux_loss for layer in reference.model.layers)
    torch.testing.assert_close(model.router_loss, balance, atol=1e-8, rtol=1e-5)
    (loss + 1000 * model.router_loss).backward()
    (wanted + 1000 * balance).backward()
    gates = {name: p.grad for name, p in model.named_parameters() if "mlp.gate." in name}
    assert len(gates) == 2
    for name, grad in gates.items():
        right = reference.get_parameter(name).grad
        torch.testing.assert_close(grad, right, atol=1e-3, rtol=1e-3)


def test_a_pth_comes_back_to_the_last_bit(reference: Decoder, pth: Path, tmp_path: Path) -> None:
    convert(pth, tmp_path / "again.pth")
    found = torch.load(tmp_path / "again.pth", weights_only=True)
    state = reference.state_dict()
    assert found.keys() == state.keys() | {"lm_head.weight"}
    assert all(torch.equal(found[name], tensor.half()) for name, tensor in state.items())
    assert read_weights(tmp_path / "again.pth").shape == read_weights(pth).shape


def test_a_moe_of_transformers_becomes_a_pth(tmp_path: Path) -> None:
    theirs = model_folder("qwen3_moe", tmp_path / "hf", norm_topk_prob=True)
    convert(tmp_path / "hf", tmp_path / "moe.pth")
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(parameter.half())
        found = read_weights(tmp_path / "moe.pth").model().eval()(IDS)
        assert (found - theirs(IDS).logits).abs().max() < 1e-5


def test_a_missing_expert_is_named(pth: Path, tmp_path: Path) -> None:
    state = torch.load(pth, weights_only=True)
    name = "model.layers.1.mlp.experts.2.up_proj.weight"
    torch.save({key: of for key, of in state.items() if key != name}, tmp_path / "x.pth")
    with pytest.raises(
        Exception, match=r"layers.1.mlp.experts.2.up_proj.weight of a MoE is missing"
    ):
        read_weights(tmp_path / "x.pth")


def test_the_preset_counts_what_it_builds() -> None:
    model = build(SHAPE, seed=0)
    assert model.shape.parameters == SHAPE.parameters == sum(p.numel() for p in model.parameters())
    assert model.shape.flops_per_token(8) == pytest.approx(SHAPE.flops_per_token(8), rel=0.01)
    again = build(SHAPE, seed=0)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )
