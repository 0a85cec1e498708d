"""Many answers to many prompts at once, for reinforcement learning and evaluation.

Prompts are padded from the left and read once, however many answers each gets; then all rows say a
token a turn from one key/value cache, and rows that have ended leave it. It knows token ids, no
text and no reward. Training is left as it was, as in `engine.generation.generate`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmm_tui.engine.generation.generate import DIVERGED, GenerateError, draw, evaluating
from lmm_tui.engine.model.decoder import Decoder, KVCache

_WORTH_LEAVING = 0.25
"""The share of ended rows from which it pays to copy the cache without them: 64 answers that end
after 16 of 64 tokens on average take 0.57 of the time that they take if all rows stay."""


@dataclass(frozen=True)
class Rollouts:
    """Answer n belongs to prompt n // samples."""

    ids: list[list[int]]
    """The tokens of each answer, a stop id that ended it included."""
    ended: list[bool]
    """Whether a stop id ended it; else it was cut at `max_tokens`."""
    log_probs: list[Tensor]
    """log p of each of these tokens at temperature 1 and before any nucleus, fp32, on the CPU."""


@torch.no_grad()
def rollout(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    *,
    samples: int,
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    stop_ids: Collection[int],
    parts: int = 1,
) -> Rollouts:
    """`samples` answers to each prompt, of up to `max_tokens` tokens.

    `temperature` and `top_p` as in `engine.generation.generate.draw`. Equal seeds draw equal
    answers, whatever
    prompts come after theirs, and in however many `parts` they are made to save memory. Raises
    GenerateError for an empty prompt, for one that leaves no room for its answer, and for logits
    that are not finite.
    """
    _check(prompts, max_tokens, model.shape.max_positions)
    rows = len(prompts) * samples
    uniforms_NxT = torch.rand(rows, max_tokens, generator=torch.Generator().manual_seed(seed))
    prompt_of_N = torch.arange(len(prompts)).repeat_interleave(samples)
    size = -(-rows // parts)
    said = Rollouts([], [], [])
    for uniforms_AxT, prompt_of_A in zip(
        uniforms_NxT.split(size), prompt_of_N.split(size), strict=True
    ):
        first, last = int(prompt_of_A[0]), int(prompt_of_A[-1])
        tokens_AxT, log_probs_AxT = _say(
            model,
            prompts[first : last + 1],
            prompt_of_A - first,
            uniforms_AxT,
            temperature,
            top_p,
            stop_ids,
        )
        if not log_probs_AxT.isfinite().all():
            raise GenerateError(DIVERGED)
        _add(said, tokens_AxT.tolist(), log_probs_AxT.cpu(), frozenset(stop_ids))
    return said


def _say(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    prompt_of_N: Tensor,
    uniforms_NxT: Tensor,
    temperature: float,
    top_p: float,
    stop_ids: Collection[int],
) -> tuple[Tensor, Tensor]:
    """Tokens and their log-probabilities, (N, T) both; what comes after a stop id counts not."""
    device = model.head_weight.device
    rows, max_tokens = uniforms_NxT.shape
    uniforms_NxT = uniforms_NxT.to(device)
    stops = torch.tensor(sorted(stop_ids), dtype=torch.long, device=device)
    tokens_NxT = torch.full((rows, max_tokens), -1, device=device)
    log_probs_NxT = torch.zeros(rows, max_tokens, device=device)

    with evaluating(model):
        logits_PxV, cache = _read(model, prompts, max_tokens)
        copies_N = prompt_of_N.to(device)
        cache.take(copies_N)
        logits_MxV = logits_PxV[copies_N]
        rows_M = torch.arange(rows, device=device)
        ended_M = torch.zeros(rows, dtype=torch.bool, device=device)
        for turn in range(max_tokens):
            new_M = draw(logits_MxV, temperature, top_p, uniforms_NxT[rows_M, turn])
            tokens_NxT[rows_M, turn] = new_M
            log_probs_NxT[rows_M, turn] = _log_probs(logits_MxV, new_M)
            ended_M |= torch.isin(new_M, stops)
            going = (~ended_M).nonzero().squeeze(1)  # The one wait for the device a turn.
            if turn == max_tokens - 1 or not len(going):
                break
            if len(going) <= (1 - _WORTH_LEAVING) * len(rows_M):
                cache.take(going)
                rows_M, ended_M, new_M = rows_M[going], ended_M[going], new_M[going]
            logits_MxV = _logits(model, new_M.unsqueeze(1), cache)
    return tokens_NxT, log_probs_NxT


def _check(prompts: Sequence[Sequence[int]], max_tokens: int, context: int) -> None:
    for prompt in prompts:
        if not prompt:
            raise GenerateError("a prompt is empty; give at least one token")
        if len(prompt) + max_tokens > context:
            raise GenerateError(
                f"a prompt of {len(prompt)} tokens and an answer of {max_tokens} don't fit into "
                f"the model's {context} positions; shorten one of them"
            )


def _read(
    model: Decoder, prompts: Sequence[Sequence[int]], max_tokens: int
) -> tuple[Tensor, KVCache]:
    """The logits after each prompt, (P, V), and the cache of all, with room for the answers."""
    longest = max(map(len, prompts))
    padding = [longest - len(prompt) for prompt in prompts]
    padded = [[0] * pad + list(prompt) for pad, prompt in zip(padding, prompts, strict=True)]
    device = model.head_weight.device
    starts_P = torch.tensor(padding, device=device) if any(padding) else None
    cache = KVCache(model.shape, len(prompts), longest + max_tokens, device, starts_P)
    return _logits(model, torch.tensor(padded, device=device), cache), cache


def _logits(model: Decoder, ids_MxT: Tensor, cache: KVCache) -> Tensor:
    """Logits (M, V) of the tokens that follow, fp32."""
    hidden_MxTxD = model.model.forward(ids_MxT, cache=cache)
    return model.head(hidden_MxTxD[:, -1]).float()


def _log_probs(logits_MxV: Tensor, chosen_M: Tensor) -> Tensor:
    return logits_MxV.log_softmax(-1).gather(1, chosen_M.unsqueeze(1)).squeeze(1)


def _add(
    said: Rollouts, tokens: list[list[int]], log_probs_NxT: Tensor, stop_ids: frozenset[int]
) -> None:
    """Each row up to its first stop id."""
    lengths = [
        next((at for at, token in enumerate(row, start=1) if token in stop_ids), len(row))
        for row in tokens
    ]
    ids = [row[:length] for row, length in zip(tokens, lengths, strict=True)]
    said.ids.extend(ids)
    said.ended.extend(row[-1] in stop_ids for row in ids)
    said.log_probs.extend(row[:length] for row, length in zip(log_probs_NxT, lengths, strict=True))


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.generation.generate import generate

    tiny = Decoder(ModelShape(64, 32, 2, 4, 2, 8, 64, max_positions=32))
    tiny.init_weights(0)
    questions = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    greedy = rollout(
        tiny, questions, samples=1, max_tokens=8, temperature=0, top_p=1, seed=0, stop_ids=()
    )
    for question, answer in zip(questions, greedy.ids, strict=True):
        assert answer == list(
            generate(tiny, question, max_tokens=8, temperature=0, top_p=1, seed=0)
        )
    warm = rollout(
        tiny,
        questions,
        samples=2,
        max_tokens=8,
        temperature=1,
        top_p=0.9,
        seed=0,
        stop_ids=range(8),
    )
    for answer, over in zip(warm.ids, warm.ended, strict=True):
        print("ended" if over else "cut  ", answer)
    print("=== 自测通过 ===")
