"""Steps that do not fit into the memory: what is cut stays the same step, for every stage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import MakeConfig, curve, lines, of_stage, run, silent
from torch import Tensor

from lmm_tui.engine.generation import rollout
from lmm_tui.engine.generation.turns import Turns
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages.base import Losses, MicroBatch, Stage, load_stage
from lmm_tui.engine.stages.dpo import DpoStage
from lmm_tui.engine.stages.grpo import GrpoStage
from lmm_tui.engine.stages.oom_split import split
from lmm_tui.engine.training.run_host import EngineHost

CPU = torch.device("cpu")
ROUNDS = {"grpo__updates": 2, "grpo__beta": 0.1}


@pytest.fixture
def taste(tmp_path: Path) -> str:
    """A reward that even answers of a model from scratch differ in."""
    file = tmp_path / "taste.py"
    file.write_text(
        "def taste(prompt, completion, answer):\n    return float(sum(map(ord, completion)) % 5)\n"
    )
    return f"{file}:taste"


@pytest.fixture
def arranged(small: MakeConfig, chats: str, taste: str) -> Callable[..., Any]:
    """Configurations of a stage with a reward, a teacher and no dropout."""

    def make(stage: str, **changes: Any) -> Any:
        if stage == "distill":
            EngineHost(of_stage(small, chats, "sft", name="teacher", train__steps=1)).run()
            changes = {"distill__teacher": "teacher"} | changes
        if stage == "grpo":
            changes = {"grpo__rewards": [taste]} | changes
        return of_stage(small, chats, stage, **changes)

    return make


def measured(
    stage: Stage, model: Decoder, batches: list[MicroBatch]
) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
    """Loss, further sums and gradients of some micro-batches together."""
    loss, sums = torch.zeros(()), dict[str, Tensor]()
    model.zero_grad()
    for batch in batches:
        one, more = stage.loss(model, batch)
        one.backward()
        loss += one.detach()
        for name, value in more.items():
            sums[name] = sums.get(name, torch.zeros(())) + value
    return loss, sums, [weight.grad.clone() for weight in model.parameters()]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("sft", {}),
        ("dpo", {}),
        ("dpo", {"dpo__reference": "live", "dpo__loss": "ipo"}),
        ("kto", {}),
        ("grpo", {}),
        ("grpo", ROUNDS),
        ("grpo", ROUNDS | {"grpo__loss": "dr_grpo"}),
        ("grpo", ROUNDS | {"grpo__loss": "cispo"}),
        ("distill", {}),
    ],
    ids=str,
)
def test_a_step_that_is_cut_has_the_loss_and_the_gradient_of_the_whole(
    arranged: Callable[..., Any], tmp_path: Path, kind: str, changes: dict[str, object]
) -> None:
    config = arranged(kind, train__batch_size=6, **changes)
    stage = load_stage(config, CPU, silent)
    model = Decoder(config.model.shape(stage.tokenizer.vocab_size))
    model.init_weights(0)
    run_dir = RunDir(tmp_path / "kept")
    run_dir.path.mkdir()
    stage.begin(model, run_dir, fresh=True)
    [whole] = stage.micro_batches(0)
    model.init_weights(1)  # Away from the reference, and from the policy that answered.
    loss, sums, gradients = measured(stage, model, [whole])
    assert max(gradient.abs().max() for gradient in gradients) > 0
    for parts in (2, 4, whole.units):
        pieces = split([whole], parts)
        assert len(pieces) >= min(parts, 3)
        assert sum(piece.tokens for piece in pieces) == pytest.approx(whole.tokens, abs=parts)
        assert max(piece.ids_BxT.numel() for piece in pieces) < whole.ids_BxT.numel()
        loss_too, sums_too, gradients_too = measured(stage, model, pieces)
        torch.testing.assert_close(loss_too, loss)
        torch.testing.assert_close(sums_too, sums, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(gradients_too, gradients, rtol=1e-4, atol=2e-5)


def out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.fixture
def short_of_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets a stage learn from so many units at a time at most, and generate so many answers."""

    def arrange(stage: type[Stage], units: int, answers: int = 1000) -> None:
        real_loss = stage.loss

        def loss(self: Stage, model: Decoder, batch: MicroBatch) -> Losses:
            if torch.is_grad_enabled() and batch.units > units:
                out_of_memory()
            return real_loss(self, model, batch)

        def generate_part(
            model: Decoder, prompts: Any, prompt_of_N: Tensor, *rest: Any, **options: Any
        ) -> Turns:
            if len(prompt_of_N) > answers:
                out_of_memory()
            return Turns(model, prompts, prompt_of_N, *rest, **options)

        monkeypatch.setattr(stage, "loss", loss)
        monkeypatch.setattr(rollout, "Turns", generate_part)

    return arrange


def alerts(host: EngineHost) -> list[str]:
    """What a run without memory says of itself, in short."""
    whole = [event["message"] for event in lines(host.run_dir.events) if event["kind"] == "alert"]
    return [
        text.removeprefix("out of memory on cpu: ").partition(" from here")[0] for text in whole
    ]


@pytest.mark.parametrize(
    ("kind", "stage", "changes", "told"),
    [
        ("dpo", DpoStage, {}, ["micro-batches are cut in 2", "micro-batches are cut in 4"]),
        (
            "grpo",
            GrpoStage,
            ROUNDS,
            [
                "micro-batches are cut in 2",
                "micro-batches are cut in 4",
                "micro-batches are cut in 8",
                "answers are made in 2 parts",
                "answers are made in 4 parts",
            ],
        ),
    ],
)
def test_a_run_short_of_memory_learns_the_same_and_resumes_to_the_last_bit(
    arranged: Callable[..., Any],
    short_of_memory: Callable[..., None],
    kind: str,
    stage: type[Stage],
    changes: dict[str, object],
    told: list[str],
) -> None:
    # With 6 steps in rounds of 2, the checkpoint after 3 is in the middle of one.
    changes |= {"train__steps": 6, "log__checkpoint_every": 3, "optim__schedule": "constant"}
    enough = run(arranged(kind, name="enough", **changes))
    short_of_memory(stage, units=2 if kind == "grpo" else 1, answers=5)
    short = run(arranged(kind, name="short", **changes))
    assert short.state == "finished", short.error
    assert alerts(short) == told
    for name in ("train/loss", "train/grad_norm", "grpo/reward", "dpo/margin"):
        expected = curve(enough.run_dir, name)
        assert curve(short.run_dir, name) == pytest.approx(expected, rel=1e-3, abs=1e-5)
    half = run(arranged(kind, name="half", **changes | {"train__steps": 3}))
    again = run(arranged(kind, name="half", **changes), half.run_dir)
    assert alerts(again) == told
    for name in ("train/loss", "train/grad_norm", "grpo/reward"):
        assert curve(again.run_dir, name) == curve(short.run_dir, name)


@pytest.mark.parametrize(
    ("kind", "stage", "answers", "expected"),
    [
        ("dpo", DpoStage, 0, "data.seq_len: not even one pair of answers of "),
        ("grpo", GrpoStage, 1000, "data.seq_len: not even one answer with its prompt of "),
        ("grpo", GrpoStage, 0, "grpo.max_tokens: not even one answer of 8 tokens can be made"),
    ],
)
def test_where_not_even_one_fits_the_run_stops_and_says_what_would(
    arranged: Callable[..., Any],
    short_of_memory: Callable[..., None],
    kind: str,
    stage: type[Stage],
    answers: int,
    expected: str,
) -> None:
    short_of_memory(stage, units=0, answers=answers)
    host = run(arranged(kind, log__val_every=0))
    assert host.state == "failed" and host.refused
    assert host.error.startswith(expected)
    assert "memory of cpu; take a smaller model, or " in host.error
