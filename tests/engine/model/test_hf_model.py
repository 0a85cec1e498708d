"""Models of transformers behind our contract give what transformers gives: whole, packed, cached,
trained, with adapters, and written and read again."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from architectures import ARCHITECTURES, VOCABULARY, made
from architectures import model_folder as architecture_folder
from safetensors.torch import save_file
from torch import Tensor
from torch._dynamo.utils import counters
from torch.nn import functional as F

from lmm_tui.engine.checkpoints.weights import read_weights
from lmm_tui.engine.config.sections.lora_config import LoraConfig
from lmm_tui.engine.config.sections.optim_config import OptimConfig
from lmm_tui.engine.generation.generate import generate
from lmm_tui.engine.generation.rollout import rollout
from lmm_tui.engine.model.adapters import adapter_of, add_adapters, load_adapted, merged, weights_of
from lmm_tui.engine.model.hf_model import HfModel
from lmm_tui.engine.model.layout import Segments
from lmm_tui.engine.model.loss import loss_sum, token_log_probs
from lmm_tui.engine.training.optim import build_optimizers

WITH_ADAPTERS = ("llama", "phi3", "gpt2", "qwen3_moe")
LENGTHS = (9, 14, 7, 18, 12)
IDS = torch.randint(VOCABULARY, (2, 30), generator=torch.Generator().manual_seed(1))
SEGMENTS = torch.arange(1, 6).repeat_interleave(torch.tensor(LENGTHS)).view(2, 30)
POSITIONS = torch.cat([torch.arange(length) for length in LENGTHS]).view(2, 30)


class Case:
    """One architecture: the folder of a model, the model of transformers, and ours around it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.peer: Any = architecture_folder(name, folder)
        self.weights = read_weights(folder)

    def ours(self) -> HfModel:
        model = self.weights.model().eval()
        assert isinstance(model, HfModel)
        return model

    @torch.no_grad()
    def singles(self) -> Tensor:
        """The logits of each packed sequence by itself, (2, 30, V)."""
        parts = IDS.flatten().split(list(LENGTHS))
        found = [self.peer(part.unsqueeze(0), use_cache=False).logits[0] for part in parts]
        return torch.cat(found).view(2, 30, -1)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(request.param, tmp_path_factory.mktemp(request.param) / "m")


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def packed(model: HfModel) -> Tensor:
    return model.backbone(IDS, POSITIONS, None, Segments.of(SEGMENTS))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen3_moe", "gpt_oss"])
def test_a_mixture_of_experts_is_compiled_as_one_graph(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced whole, with the loss of its router, but not turned into code."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    torch._dynamo.reset()
    counters.clear()
    model = HfModel.of(made(name, router_aux_loss_coef=0.01))
    eager, of_router = model.backbone(IDS), model.router_loss
    model.compile_backbone()
    close(model.backbone(IDS), eager)
    assert of_router is not None and model.router_loss is not None
    close(model.router_loss, of_router)
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]


@torch.no_grad()
def test_logits_are_those_of_transformers_whole_and_packed(case: Case) -> None:
    model = case.ours()
    close(model(IDS), case.peer(IDS, use_cache=False).logits)
    close(model.head(packed(model)), case.singles())
    as_on_gpu = case.ours()
    as_on_gpu.packs_by_mask = True
    close(as_on_gpu.head(packed(as_on_gpu)), case.singles())


def test_a_packed_loss_has_the_gradient_of_single_sequences(case: Case) -> None:
    labels, peer = IDS.roll(-1, 1), case.peer
    peer.zero_grad()
    pairs = zip(*(x.flatten().split(list(LENGTHS)) for x in (IDS, labels)), strict=True)
    for ids, label in pairs:
        logits = peer(ids.unsqueeze(0), use_cache=False).logits[0]
        F.cross_entropy(logits, label, reduction="sum").backward()
    for as_on_gpu in (False, True):
        model = case.ours()
        model.packs_by_mask = as_on_gpu
        loss_sum(*model.projection(packed(model)), labels, model.softcap).backward()
        found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        for name, parameter in peer.named_parameters():
            torch.testing.assert_close(found[name], parameter.grad, atol=2e-3, rtol=1e-3)


@torch.no_grad()
def test_generation_and_rollouts_are_those_of_transformers(case: Case) -> None:
    model, prompts = case.ours(), [[5, 6, 7, 8, 9, 10, 11, 12], [20, 21, 22]]
    ours = rollout(
        model, prompts, samples=1, max_tokens=4, temperature=0, top_p=1, seed=0, stop_ids=()
    )
    for prompt, ids in zip(prompts, ours.ids, strict=True):
        options: dict[str, Any] = {"temperature": 0, "top_p": 1, "seed": 0, "max_tokens": 4}
        text = list(prompt)
        for _ in range(4):
            logits = case.peer(torch.tensor([text]), use_cache=False).logits[0, -1]
            text.append(int(logits.argmax()))
        assert ids == text[len(prompt) :] == list(generate(model, prompt, **options))


@pytest.mark.parametrize("case", WITH_ADAPTERS, indirect=True)
def test_adapters_train_resume_and_merge_as_peft_does(case: Case, tmp_path: Path) -> None:
    model, lora = case.ours(), LoraConfig(rank=2, alpha=8)
    add_adapters(model, lora, seed=0)
    optimizers = build_optimizers(model, OptimConfig(weight_decay=0.0), 1e-2)
    losses = []
    for _ in range(3):
        loss = loss_sum(*model.projection(packed(model)), IDS.roll(-1, 1), model.softcap) / 60
        loss.backward()
        losses.append(float(loss))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert losses[2] < losses[0]
    adapter, weights = adapter_of(model, lora), weights_of(model)
    plain = case.ours().state_dict()
    assert all(torch.equal(tensor, plain[name]) for name, tensor in weights.items())
    with torch.no_grad():
        wanted = model(IDS)
        again = case.ours()
        add_adapters(again, lora, seed=5)
        load_adapted(again, weights, adapter)
        assert torch.equal(again(IDS), wanted)
        whole = case.ours()
        whole.load_state_dict(merged(weights, adapter, whole.aliases))
        close(whole(IDS), wanted)
        _write_adapter(tmp_path / "adapter", adapter, case.folder)
        theirs = peft.PeftModel.from_pretrained(made(case.name), str(tmp_path / "adapter"))
        close(theirs.eval()(IDS, use_cache=False).logits, wanted)
        close(read_weights(tmp_path / "adapter").model().eval()(IDS), wanted)


def _write_adapter(folder: Path, adapter: Any, base: Path) -> None:
    folder.mkdir()
    save_file(adapter.tensors, folder / "adapter_model.safetensors")
    config = {**adapter.config, "base_model_name_or_path": str(base)}
    (folder / "adapter_config.json").write_text(json.dumps(config, default=sorted))


def test_capped_logits_have_the_gradients_of_autograd() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 5, 8, generator=generator, requires_grad=True)
    head = torch.randn(32, 8, generator=generator, requires_grad=True)
    labels = torch.tensor([[1, 2, -100, 4, 5], [6, 7, 8, -100, 10]])
    logits = 2 * torch.tanh(F.linear(hidden, head) / 2)
    wanted = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
    found = loss_sum(hidden, head, labels, 2.0)
    log_p = token_log_probs(hidden, head, labels, softcap=2.0).log_p_N
    close(found, wanted)
    for other in (found, -log_p.sum()):
        for mine, right in zip(
            torch.autograd.grad(other, (hidden, head)),
            torch.autograd.grad(wanted, (hidden, head), retain_graph=True),
            strict=True,
        ):
            close(mine, right)
