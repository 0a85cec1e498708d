"""With train.compile the step of each stage is traced without a graph break."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from small_runs import MakeConfig, curve, of_stage, train
from torch._dynamo.utils import counters

from lmm_tui.engine.training import run_setup


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced whole, but not turned into code: that takes a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    torch._dynamo.reset()
    counters.clear()


CASES: dict[str, dict[str, Any]] = {
    "pretrain": {"train__grad_accum": 2, "train__recompute": "layers"},
    "sft": {"log__val_every": 2},
    "dpo": {"log__val_every": 2},
    "grpo": {"grpo__updates": 2, "grpo__beta": 0.1},
    "distill": {},
}

VARIANTS: dict[str, dict[str, Any]] = {
    "kto": {},
    "reward": {},
    **{f"dpo {loss}": {"dpo__loss": loss} for loss in ("ipo", "orpo", "simpo")},
    **{
        f"grpo {loss}": {"grpo__loss": loss}
        for loss in ("dr_grpo", "dapo", "gspo", "cispo", "rloo")
    },
    "sft lora": {"lora__rank": 2},
}


@pytest.mark.parametrize("stage", CASES)
def test_a_compiled_step_has_no_graph_break(
    stage: str, small: MakeConfig, chats: str, traced: None
) -> None:
    options = {"train__steps": 3, "log__val_every": 0, "log__probe_every": 2} | CASES[stage]
    if stage == "pretrain":
        make = partial(small, **options)
    else:
        if stage == "distill":
            teacher = train(of_stage(small, chats, "sft", name="teacher", train__steps=1))
            options["distill__teacher"] = str(teacher.run_dir.path)
            options["distill__data"] = "chat"
        make = partial(of_stage, small, chats, stage, **options)
    losses = curve(train(make(name="compiled", train__compile=True)).run_dir)
    assert counters["stats"]["unique_graphs"] and not counters["graph_break"]
    if stage != "grpo":  # A rounding there makes other samples.
        eager = curve(train(make(name="eager", train__compile=False)).run_dir)
        assert losses == pytest.approx(eager, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_variant_of_a_stage_has_a_graph_break(
    variant: str, small: MakeConfig, chats: str, traced: None
) -> None:
    stage = variant.split(maxsplit=1)[0]
    options = {"train__steps": 1, "log__val_every": 0, "log__probe_every": 0} | VARIANTS[variant]
    make = small if stage == "pretrain" else partial(of_stage, small, chats, stage)
    train(make(train__compile=True, **options))
    assert counters["stats"]["unique_graphs"] and not counters["graph_break"]


def test_rows_in_any_number_are_few_graphs(small: MakeConfig, chats: str, traced: None) -> None:
    """Pairs are packed into another number of rows in each step: a graph for one, one for any."""
    config = of_stage(
        small, chats, "dpo", train__steps=12, train__batch_size=3, train__compile=True,
        log__val_every=0, log__probe_every=0,
    )  # fmt: skip
    train(config)
    assert counters["stats"]["unique_graphs"] <= 6


def test_what_is_unset_is_compiled_where_it_pays(
    small: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.model.decoder import Decoder

    class OnCuda(Decoder):
        head_weight = SimpleNamespace(device=torch.device("cuda"))  # type: ignore[assignment]

    shape = ModelShape(64, 32, 1, 4, 2, 8, 64)
    stages = SimpleNamespace(shapes_vary=False), SimpleNamespace(shapes_vary=True)
    monkeypatch.setattr(run_setup.devices, "can_compile", lambda: True)
    asked = {name: small(train__compile=name) for name in (None, True, False)}
    for stage in stages:
        assert [run_setup.compiles(asked[name], stage, OnCuda(shape)) for name in asked] == [
            not stage.shapes_vary, True, False,
        ]  # fmt: skip
        assert not run_setup.compiles(asked[None], stage, Decoder(shape))
    monkeypatch.setattr(run_setup.devices, "can_compile", lambda: False)
    assert not run_setup.compiles(asked[None], stages[0], OnCuda(shape))
