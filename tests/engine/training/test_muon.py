"""Our Muon steps as torch's does, on one rank and with its matrices spread over two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from scripts import begin_ranks, outputs

from lmm_tui.engine.training.muon import StackedMuon, _iterated
from lmm_tui.engine.training.row_exchange import RowExchange

SHAPES = [(16, 16)] * 3 + [(24, 16)] * 2 + [(16, 24), (5, 3)]


def weights() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def run(optimizer: torch.optim.Optimizer, steps: int = 3, seed: int = 1) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("rate", [None, "match_rms_adamw"])
def test_a_step_is_that_of_torch_to_the_last_bit(nesterov: bool, rate: str | None) -> None:
    options = {"lr": 0.05, "weight_decay": 0.3, "nesterov": nesterov, "adjust_lr_fn": rate}
    ours, theirs = weights(), weights()
    run(StackedMuon(ours, **options))
    run(torch.optim.Muon(theirs, **options))  # type: ignore[arg-type]
    assert all(map(torch.equal, ours, theirs))


def test_all_matrices_at_once_round_as_one_by_one() -> None:
    """As on a GPU; bf16 has 8 bits, and a rounding in the third iteration is one in the fifth."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 24, 40, generator=generator)
    x = x / x.norm(dim=(1, 2), keepdim=True)
    a, b, c = 3.4445, -4.7750, 2.0315
    for dtype, most in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        one = torch.stack([_iterated(m.to(dtype), torch.addmm, (a, b, c), 5) for m in x])
        torch.testing.assert_close(
            _iterated(x.to(dtype), torch.baddbmm, (a, b, c), 5), one, rtol=0, atol=most
        )


def test_a_step_in_fp32_orthogonalises_better_than_one_in_bf16() -> None:
    """Singular values of a direction lie near 1 (kellerjordan.github.io/posts/muon)."""
    weight = torch.nn.Parameter(torch.zeros(24, 16))
    run(StackedMuon([weight], lr=1.0, weight_decay=0.0, compute=torch.float32), steps=1)
    values = torch.linalg.svdvals(weight.detach()) / (24 / 16) ** 0.5
    assert values.min() > 0.6 and values.max() < 1.3


def test_checkpoints_of_torchs_muon_load_and_go_on(tmp_path: Path) -> None:
    ours, theirs = weights(), weights()
    before = torch.optim.Muon(theirs, lr=0.05)
    run(before)
    torch.save(before.state_dict(), tmp_path / "muon.pt")
    with torch.no_grad():
        for weight, trained in zip(ours, theirs, strict=True):
            weight.copy_(trained)
    after = StackedMuon(ours, lr=1.0)
    after.load_state_dict(torch.load(tmp_path / "muon.pt"))
    run(after, seed=2)
    run(before, seed=2)
    assert all(map(torch.equal, ours, theirs))


def test_a_matrix_without_a_gradient_stays() -> None:
    ours = weights()
    first = ours[0].detach().clone()
    optimizer = StackedMuon(ours, lr=0.1)
    for weight in ours[1:]:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert torch.equal(ours[0], first) and ours[0] not in optimizer.state


RANKS = """
import json, os, sys
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.debug import CommDebugMode
from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.training.muon import StackedMuon, _iterated

torch.set_num_threads(1)
dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2,))

def made(layers):
    model = Decoder(ModelShape(64, 32, layers, 4, 2, 8, 72))
    model.init_weights(0)
    return model

def matrices(model):
    return {n: p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n}

def train(model, compute, skip=False):
    optimizer = StackedMuon(list(matrices(model).values()), lr=0.02, compute=compute)
    generator, counted = torch.Generator().manual_seed(1), []
    for step in range(3):
        for p in matrices(model).values():
            grad = torch.randn(p.shape, generator=generator)
            if isinstance(p, DTensor):
                grad = torch.distributed.tensor.distribute_tensor(grad, p.device_mesh, p.placements)
            p.grad = grad
        optimizer.found_inf = torch.tensor(float(skip and step == 1))
        with CommDebugMode() as communication:
            optimizer.step()
        counted.append(communication.get_total_counts())
    return optimizer, counted

found = {}
for name, compute in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
    # With one layer three shapes have one matrix only, and a rank owns none of it.
    layers = 1 if name == "bf16" else 2
    alone, spread = made(layers), made(layers)
    for layer in spread.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(spread, mesh=mesh)
    train(alone, compute, skip=True)
    optimizer, counted = train(spread, compute, skip=True)
    whole = {n: p.full_tensor() for n, p in matrices(spread).items()}
    found[name] = max((whole[n] - p).abs().max().item() for n, p in matrices(alone).items())
found["collectives"], found["matrices"] = counted, len(whole)
found["shapes"] = len({p.shape for p in whole.values()})
named = get_optimizer_state_dict(spread, optimizer)["state"]
found["named"] = sorted(named) == sorted(matrices(spread))
if dist.get_rank() == 0:
    print(json.dumps(found))
dist.destroy_process_group()
"""


def test_spread_over_two_ranks_it_takes_two_collectives_a_shape(tmp_path: Path) -> None:
    """torch's takes 204 for these 14 matrices."""
    found = json.loads(outputs(begin_ranks(tmp_path, RANKS))[0])
    assert found["matrices"] == 14 and found["shapes"] == 4
    assert found["collectives"] == [2 * found["shapes"]] * 3
    assert found["fp32"] < 1e-6 and found["bf16"] < 1e-6
    assert found["named"]


@pytest.mark.parametrize(("rows", "count"), [(10, 7), (2, 1), (9, 3)])
def test_rows_go_to_their_owners_and_come_back(rows: int, count: int) -> None:
    """Four ranks in one process: what one sends is what the other gets."""
    world = 4
    size = -(-rows // world)
    whole = torch.arange(count * rows * 3.0).view(count, rows, 3)
    parts = list(whole.split(size, dim=1)) + [whole[:, :0]] * world
    shares = tuple(part.shape[1] for part in parts[:world])
    owned = tuple(count // world + (rank < count % world) for rank in range(world))
    ranks = [RowExchange(None, rank, shares, owned) for rank in range(world)]

    def exchange(way: str, given: list[torch.Tensor]) -> list[torch.Tensor]:
        posted: list[list[torch.Tensor]] = []

        def post(flat: torch.Tensor, sent: list[int], got: list[int]) -> list[torch.Tensor]:
            posted.append(list(flat.split(sent)))
            return [flat.new_empty(number) for number in got]

        def collect(rank: int, got: list[int]) -> list[torch.Tensor]:
            came = [of[rank] for of in posted]
            assert [part.numel() for part in came] == got
            return came

        for one, part in zip(ranks, given, strict=True):
            object.__setattr__(one, "_exchange", post)
            getattr(one, way)(part)
        found = []
        for rank, (one, part) in enumerate(zip(ranks, given, strict=True)):
            answer = lambda flat, sent, got, rank=rank: collect(rank, got)  # noqa: E731
            object.__setattr__(one, "_exchange", answer)
            found.append(getattr(one, way)(part))
        return found

    gathered = exchange("to_owners", parts[:world])
    assert torch.equal(torch.cat(gathered), whole)
    assert all(map(torch.equal, exchange("from_owners", gathered), parts[:world]))
