"""Moments in 8 bits: against torchao's AdamW of 8 bits, and against torch's in fp32."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_runs import MakeConfig, curve, train

from lmm_tui.engine.checkpoints.checkpoint import load
from lmm_tui.engine.config.config_error import ConfigError
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.config.run_settings import may_change
from lmm_tui.engine.run.checkpoint_names import list_checkpoints
from lmm_tui.engine.training.adamw_8bit import AdamW8bit, levels
from lmm_tui.engine.training.run_setup import choose_device

OPTIONS: dict[str, Any] = {"lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-8}
IN_8_BITS: dict[str, Any] = {"optim__state_dtype": "8bit", "model__hidden_size": 64}


def weights(count: int) -> list[torch.nn.Parameter]:
    """The same ones; of 8,192 values, so that the moments are in 8 bits."""
    made = torch.randn(64, 128, generator=torch.Generator().manual_seed(0)) * 0.02
    return [torch.nn.Parameter(made.clone()) for _ in range(count)]


def steps(optimizers: list[tuple[torch.nn.Parameter, torch.optim.Optimizer]], count: int) -> None:
    """On a noisy way to weights elsewhere."""
    random = torch.Generator().manual_seed(1)
    wanted = torch.randn(64, 128, generator=random) * 0.02
    for _ in range(count):
        noise = torch.randn(64, 128, generator=random) * 0.01
        for weight, optimizer in optimizers:
            weight.grad = weight.detach() - wanted + noise
            optimizer.step()


def test_it_steps_as_torchao_does_and_near_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchao", reason="torchao is for tests of 8 bits and for fp8")
    from torchao.optim import AdamW8bit as Theirs
    from torchao.optim.quant_utils import create_dynamic_map

    for signed in (True, False):
        assert levels(signed).tolist() == torch.tensor(create_dynamic_map(signed)).tolist()
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    start, ours, theirs, exact = weights(4)
    groups = [{"params": [ours], "weight_decay": 0.1}]
    pairs: list[tuple[torch.nn.Parameter, torch.optim.Optimizer]] = [
        (ours, AdamW8bit(groups, **OPTIONS)),
        (theirs, Theirs([theirs], weight_decay=0.1, **OPTIONS)),
        (exact, torch.optim.AdamW([exact], weight_decay=0.1, **OPTIONS)),
    ]
    steps(pairs, 2)
    assert (ours - theirs).abs().max() < 2e-8
    steps(pairs, 48)
    moved = (exact - start).norm()
    # A value between two levels goes to one or the other by its last bit.
    assert (ours - theirs).norm() / moved < 2e-3
    assert (ours - exact).norm() / moved < 0.02


def test_moments_take_a_quarter_and_a_scale_for_each_block() -> None:
    (weight,) = weights(1)
    optimizer = AdamW8bit([weight], **OPTIONS)
    steps([(weight, optimizer)], 1)
    state = optimizer.state[weight]
    size = sum(value.nbytes for name, value in state.items() if name != "step")
    assert size == 2 * (8192 + 4 * 8192 // 256)


def test_a_step_without_a_number_changes_neither_weights_nor_moments() -> None:
    (weight,) = weights(1)
    optimizer = AdamW8bit([weight], **OPTIONS)
    steps([(weight, optimizer)], 3)
    before = [weight.detach().clone(), *(v.clone() for v in optimizer.state[weight].values())]
    optimizer.found_inf = torch.ones(())
    weight.grad = torch.full_like(weight, torch.nan)
    optimizer.step()
    after = [weight.detach(), *optimizer.state[weight].values()]
    assert all(map(torch.equal, before, after))


def test_a_run_goes_on_from_its_checkpoint_to_the_last_bit(small: MakeConfig) -> None:
    same = {"optim__schedule": "constant", "log__val_every": 0, "log__checkpoint_every": 2}
    whole = train(small(name="whole", train__steps=4, **same, **IN_8_BITS))
    half = train(small(name="half", train__steps=2, **same, **IN_8_BITS))
    again = train(small(name="half", train__steps=4, **same, **IN_8_BITS), half.run_dir)
    assert curve(again.run_dir) == curve(whole.run_dir)
    kept = load(list_checkpoints(again.run_dir.checkpoints)[-1], torch.device("cpu"))[2]
    moments = kept["optimizers"][0]["state"]["model.embed_tokens.weight"]
    assert moments["exp_avg"].dtype == moments["exp_avg_sq"].dtype == torch.uint8


def test_ranks_that_divide_a_model_are_refused_and_the_type_stays_in_a_run() -> None:
    ranks: Any = SimpleNamespace(is_alone=False, size=2)
    config = resolve(assignments={"optim.state_dtype": "8bit", "parallel.shard": "all"})
    with pytest.raises(ConfigError, match="not divided among ranks; take fp32, or parallel.shard"):
        choose_device(config.completed(), ranks)
    assert not may_change("optim.state_dtype")
