"""Products in fp8, emulated: by arithmetic, and beside a run in bf16."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_runs import MakeConfig, curve, train
from torch._dynamo.utils import counters

from lmm_tui.engine.checkpoints.checkpoint import load
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.model import fp8
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.training.run_setup import choose_device

pytest.importorskip("torchao", reason="train.fp8 is its")
CUDA = torch.device("cuda", 0)


def decoder(hidden: int = 32) -> Decoder:
    made = Decoder(ModelShape(64, hidden, 2, 2, 2, 16, 64))
    made.init_weights(0)
    return made


def rounded(x: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """Scaled so that the largest value is the largest of `kind`, rounded, and scaled back."""
    scale = torch.finfo(kind).max / x.abs().max()
    return (x * scale).clamp(-torch.finfo(kind).max, torch.finfo(kind).max).to(kind).float() / scale


def test_a_product_is_that_of_the_rounded_matrices() -> None:
    model = decoder()
    layer = model.model.layers[0].mlp.gate_proj
    fp8.use_fp8(model)
    x = torch.randn(6, 32, requires_grad=True)
    y = layer(x)
    e4m3, e5m2 = torch.float8_e4m3fn, torch.float8_e5m2
    wanted = rounded(x.detach(), e4m3) @ rounded(layer.weight.detach(), e4m3).T
    torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-6)
    grad = torch.randn_like(y)
    y.backward(grad)
    given = rounded(grad, e5m2)
    torch.testing.assert_close(
        x.grad, given @ rounded(layer.weight.detach(), e4m3), rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(
        layer.weight.grad, given.T @ rounded(x.detach(), e4m3), rtol=1e-5, atol=1e-5
    )


def test_weights_and_passes_without_gradients_stay_as_they_are() -> None:
    plain, other = decoder(), decoder()
    fp8.use_fp8(other)
    ids = torch.randint(64, (2, 9))
    with torch.no_grad():
        assert torch.equal(plain.read(ids), other.read(ids))
    assert not torch.equal(plain.read(ids), other.read(ids))
    kept = other.state_dict()
    assert list(kept) == list(plain.state_dict())
    assert all(torch.equal(kept[name], value) for name, value in plain.state_dict().items())
    assert len(list(other.parameters())) == len(list(plain.parameters()))


def test_a_run_learns_as_in_bf16_compiled_without_a_graph_break(
    small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fp8, "can_multiply", lambda device: True)
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: real(*a, **k, backend="eager"))
    torch._dynamo.reset()
    counters.clear()
    same: dict[str, Any] = {"train__precision": "bf16", "train__steps": 4, "log__val_every": 4}
    compiled = train(small(name="fp8", train__fp8=True, train__compile=True, **same))
    assert counters["stats"]["unique_graphs"] and not counters["graph_break"]
    plain = train(small(name="bf16", **same))
    losses, wanted = curve(compiled.run_dir), curve(plain.run_dir)
    assert losses != wanted and len(losses) == 4
    assert losses == pytest.approx(wanted, rel=0.01)
    found, others = (
        load(list_checkpoints(host.run_dir.checkpoints)[-1], torch.device("cpu"))[1]
        for host in (compiled, plain)
    )
    assert {name: (value.shape, value.dtype) for name, value in found.items()} == {
        name: (value.shape, value.dtype) for name, value in others.items()
    }


def test_where_it_cannot_be_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = resolve(assignments={"train.fp8": True, "device": "cpu"}).completed()
    with pytest.raises(ConfigError, match=r"train.fp8: cpu has no units for it.*8\.9"):
        choose_device(config)
    monkeypatch.setattr(fp8, "can_multiply", lambda device: True)
    for sentence, changes, precision, alone in [
        ("train.precision is fp32", {}, "fp32", True),
        ("it is for one rank", {}, "bf16", False),
        ("it is for pretrain, sft, distill", {"stage": "dpo"}, "bf16", True),
        ("adapters are too small", {"stage": "sft", "lora.rank": 4}, "bf16", True),
    ]:
        chosen = resolve(assignments={"train.fp8": True, **changes}).completed()
        with pytest.raises(ConfigError, match=sentence):
            fp8.check_fp8(chosen, CUDA, precision, alone)
    fp8.check_fp8(config, CUDA, "bf16", True)
    with pytest.raises(ConfigError, match="q_proj is 32 × 40, and sides must be multiples"):
        fp8.use_fp8(Decoder(ModelShape(64, 40, 1, 2, 2, 16, 64)))


@pytest.mark.parametrize(("capability", "there"), [((8, 9), True), ((9, 0), True), ((8, 6), False)])
def test_cards_from_ada_on_have_it(
    capability: tuple[int, int], there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert fp8.can_multiply(CUDA) is there
