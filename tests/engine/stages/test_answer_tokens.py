"""Which tokens and which question count: of DPO the answers', of GRPO the last question's.

The oracles are log-probabilities computed here from the logits, as TRL defines the losses.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from foreign_models import byte_level, json_lines, model_folder
from small_runs import MakeConfig, run, silent

from lmm_tui.data.errors import DataError
from lmm_tui.engine.config.resolve import resolve
from lmm_tui.engine.model.decoder import Decoder
from lmm_tui.engine.run.run_dir import RunDir
from lmm_tui.engine.stages.answer_batch import PairBatch
from lmm_tui.engine.stages.base import load_stage
from lmm_tui.engine.stages.completion_batch import CompletionBatch

EARLIER = "an earlier answer that is the same in both and that nobody chose between"


def turns(*contents: str) -> list[dict[str, str]]:
    roles = ("user", "assistant") * len(contents)
    return [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]


def stage_of(**settings: Any) -> tuple[Any, Decoder]:
    config = resolve(assignments={k.replace("__", "."): v for k, v in settings.items()})
    stage = load_stage(config, torch.device("cpu"), silent)
    model = Decoder(config.model.shape(stage.tokenizer.vocab_size))
    model.init_weights(0)
    return stage, model


@pytest.mark.parametrize("kind", ["sigmoid", "ipo"])
def test_dpo_counts_the_answer_alone_whatever_the_prompt_holds(tmp_path: Path, kind: str) -> None:
    rows = (
        {
            "prompt": turns(f"Q{n}", EARLIER, "And?"),
            "chosen": [{"role": "assistant", "content": "yes it is so"}],
            "rejected": [{"role": "assistant", "content": "no"}],
        }
        for n in range(40)
    )
    stage, policy = stage_of(
        stage="dpo",
        data__source=json_lines(tmp_path / "pairs.jsonl", rows),
        train__batch_size=4,
        dpo__loss=kind,
    )
    first = Decoder(policy.shape)
    first.init_weights(0)
    stage.begin(policy, RunDir(tmp_path), True)
    with torch.no_grad():
        draw = torch.Generator().manual_seed(1)
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draw))
    [batch] = stage.micro_batches(0)
    assert isinstance(batch, PairBatch)
    loss, sums = stage.loss(policy, batch)
    end = stage.tokenizer.id_of("<|im_end|>")

    def log_p(model: Decoder, ids: list[int], start: int) -> tuple[float, int]:
        with torch.no_grad():
            log_probs = model(torch.tensor([ids]))[0].log_softmax(-1)
        stop = len(ids) - ids[::-1].index(end)
        return sum(log_probs[i - 1, ids[i]].item() for i in range(start, stop)), stop - start

    losses, rewards = [], []
    for place, ((good, _), (bad, _)) in enumerate(batch.answers):
        start = next(i for i, (a, b) in enumerate(zip(good, bad, strict=False)) if a != b)
        (good_p, good_n), (bad_p, bad_n) = log_p(policy, good, start), log_p(policy, bad, start)
        (good_q, _), (bad_q, _) = log_p(first, good, start), log_p(first, bad, start)
        assert batch.lengths_WxB[:, place].tolist() == [good_n, bad_n]
        rewards.append(0.1 * (good_p - good_q))
        by_token = (good_p - good_q) / good_n - (bad_p - bad_q) / bad_n
        margin = torch.tensor(0.1 * ((good_p - good_q) - (bad_p - bad_q)))
        losses.append((by_token - 5) ** 2 if kind == "ipo" else -F.logsigmoid(margin).item())
    assert loss.item() == pytest.approx(sum(losses), rel=1e-4)
    assert sums["dpo/chosen_reward"].item() == pytest.approx(sum(rewards), abs=1e-4)


def test_the_reward_is_given_the_last_question(tmp_path: Path) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text(
        "seen = set()\ndef f(prompt, completion, answer):\n"
        f"    open({str(tmp_path / 'seen.txt')!r}, 'a').write(prompt + '\\n')\n"
        "    return float(len(completion))\n"
    )
    rows = (
        {
            "system": "Be short.",
            "prompt": turns(f"FIRST {n}", "ok", f"SECOND {n}"),
            "answer": str(n),
        }
        for n in range(30)
    )
    stage, model = stage_of(
        stage="grpo",
        data__source=json_lines(tmp_path / "prompts.jsonl", rows),
        train__batch_size=2,
        grpo__group=2,
        grpo__max_tokens=4,
        grpo__rewards=[f"{judge}:f"],
    )
    stage.begin(model, RunDir(tmp_path), True)
    stage.micro_batches(0)
    seen = (tmp_path / "seen.txt").read_text().splitlines()
    assert len(seen) == 4 and all(line.startswith("SECOND") for line in seen)


@pytest.mark.parametrize("temperature", [1.0, 1.5, 2.0])
def test_log_probs_are_of_the_distribution_that_was_sampled_from(
    tmp_path: Path, temperature: float
) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text(
        "def f(prompt, completion, answer):\n    return float(sum(map(ord, completion)) % 7)\n"
    )
    rows = ({"prompt": f"Q{n}", "answer": str(n)} for n in range(30))
    stage, model = stage_of(
        stage="grpo",
        data__source=json_lines(tmp_path / "prompts.jsonl", rows),
        data__seq_len=64,
        train__batch_size=2,
        grpo__group=8,
        grpo__max_tokens=8,
        grpo__temperature=temperature,
        grpo__rewards=[f"{judge}:f"],
    )
    weight = model.model.embed_tokens.weight
    with torch.no_grad():
        weight.mul_(3)
    stage.begin(model, RunDir(tmp_path), True)
    [batch] = stage.micro_batches(0)
    assert isinstance(batch, CompletionBatch)
    loss, sums = stage.loss(model, batch)
    [found] = torch.autograd.grad(loss / batch.weight, weight)
    total, entropy, tokens = torch.zeros(()), 0.0, 0
    for place, ((ids, counted), advantage) in enumerate(
        zip(batch.completions, batch.advantages_A, strict=True)
    ):
        log_probs = (model(torch.tensor([ids]))[0] / temperature).log_softmax(-1)
        first = counted.index(True)
        own = torch.stack([log_probs[i - 1, ids[i]] for i in range(first, len(ids))])
        sampled = batch.old_log_p_AxT[place][: len(own)]
        torch.testing.assert_close(own.detach(), sampled, atol=1e-4, rtol=1e-4)
        rows_TxV = log_probs[first - 1 : len(ids) - 1].detach()
        entropy -= (rows_TxV.exp() * rows_TxV).sum().item()
        tokens += len(own)
        total = total - ((own - own.detach()).exp() * advantage).mean()
    [right] = torch.autograd.grad(total / batch.weight, weight)
    torch.testing.assert_close(found, right, atol=1e-5, rtol=1e-3)
    mean_entropy = sums["grpo/entropy"].item() / batch.weight
    assert mean_entropy == pytest.approx(entropy / tokens, rel=1e-4)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Say hello."},
        {"conversations": turns("Say hello.", "")},
        {"conversations": turns("What is 2 and 3?", ""), "gt": ["5"]},
    ],
)
def test_prompts_without_an_answer_are_refused_as_such(tmp_path: Path, row: Any) -> None:
    source = json_lines(tmp_path / "prompts.jsonl", ({**row, "id": n} for n in range(9)))
    with pytest.raises(DataError, match="no prompt has an answer"):
        stage_of(stage="grpo", data__source=source, data__val_fraction=1e-6)


def test_a_teacher_with_a_short_context_is_one_sentence(small: MakeConfig, tmp_path: Path) -> None:
    backend = byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    short = {"max_position_embeddings": 16}
    model_folder(tmp_path / "teacher", backend, config=short, eos_token="<|im_end|>")
    host = run(small(stage="distill", distill__teacher=str(tmp_path / "teacher")))
    assert host.refused and "has a context of 16 tokens, data.seq_len is 32" in host.error
