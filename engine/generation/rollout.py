"""Samples many completions of many prompts at once, for reinforcement learning and evaluation.

Prompts are padded from the left and read once, however many completions each gets; then all rows
generate a token per turn with one key/value cache, and rows that have ended are removed from it.
Training is unchanged, as in `engine.generation.generate`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmm_tui.engine.generation.generate import DIVERGED, GenerateError, draw, evaluating
from lmm_tui.engine.model.language_model import Cache, LanguageModel

_COMPACT_FROM = 0.25
"""The share of ended rows from which the cache is copied without them: 64 completions that end
after 16 of 64 tokens on average then take 0.57 of the time."""


@dataclass(frozen=True)
class Rollouts:
    """Completion n belongs to prompt n // samples."""

    ids: list[list[int]]
    """The tokens of each completion, including a stop id that ended it."""
    ended: list[bool]
    """Whether a stop id ended it; else it was cut at `max_tokens`."""
    log_probs: list[Tensor]
    """log p of each of these tokens at the sampling temperature (1 where that is 0) and without
    top_p, fp32, on the CPU."""


@torch.no_grad()
def rollout(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    *,
    samples: int,
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    stop_ids: Collection[int],
    parts: int = 1,
    skip: int = 0,
) -> Rollouts:
    """Sample `samples` completions of each prompt, of up to `max_tokens` tokens.

    `temperature` and `top_p` as in `engine.generation.generate.draw`. Equal seeds give equal
    completions, whatever prompts follow, and in however many `parts` they are sampled to save
    memory. With `skip` the completions are those that stand after so many in a longer list.
    Raises GenerateError for an empty prompt, for one that leaves no room for its completion, and
    for logits that are not finite.
    """
    _check(prompts, max_tokens, model.shape.max_positions)
    rows = len(prompts) * samples
    generator = torch.Generator().manual_seed(seed)
    uniforms_NxT = torch.rand(skip + rows, max_tokens, generator=generator)[skip:]
    prompt_of_N = torch.arange(len(prompts)).repeat_interleave(samples)
    size = -(-rows // parts)
    completions = Rollouts([], [], [])
    for uniforms_AxT, prompt_of_A in zip(
        uniforms_NxT.split(size), prompt_of_N.split(size), strict=True
    ):
        first, last = int(prompt_of_A[0]), int(prompt_of_A[-1])
        tokens_AxT, log_probs_AxT = _generate_part(
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
        _append(completions, tokens_AxT.tolist(), log_probs_AxT.cpu(), frozenset(stop_ids))
    return completions


def _generate_part(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    prompt_of_N: Tensor,
    uniforms_NxT: Tensor,
    temperature: float,
    top_p: float,
    stop_ids: Collection[int],
) -> tuple[Tensor, Tensor]:
    """Tokens and their log-probabilities, (N, T) both; after a stop id they are undefined."""
    device = model.head_weight.device
    rows, max_tokens = uniforms_NxT.shape
    uniforms_NxT = uniforms_NxT.to(device)
    stops = torch.tensor(sorted(stop_ids), dtype=torch.long, device=device)
    tokens_NxT = torch.full((rows, max_tokens), -1, device=device)
    log_probs_NxT = torch.zeros(rows, max_tokens, device=device)

    with evaluating(model):
        logits_PxV, cache = _prefill(model, prompts, max_tokens)
        copies_N = prompt_of_N.to(device)
        cache.take(copies_N)
        logits_MxV = logits_PxV[copies_N]
        rows_M = torch.arange(rows, device=device)
        ended_M = torch.zeros(rows, dtype=torch.bool, device=device)
        for turn in range(max_tokens):
            new_M = draw(logits_MxV, temperature, top_p, uniforms_NxT[rows_M, turn])
            tokens_NxT[rows_M, turn] = new_M
            log_probs_NxT[rows_M, turn] = _log_probs(logits_MxV / (temperature or 1), new_M)
            ended_M |= torch.isin(new_M, stops)
            active = (~ended_M).nonzero().squeeze(1)  # The one wait for the device per turn.
            if turn == max_tokens - 1 or not len(active):
                break
            if len(active) <= (1 - _COMPACT_FROM) * len(rows_M):
                cache.take(active)
                rows_M, ended_M, new_M = rows_M[active], ended_M[active], new_M[active]
            logits_MxV = _logits(model, new_M.unsqueeze(1), cache)
    return tokens_NxT, log_probs_NxT


def _check(prompts: Sequence[Sequence[int]], max_tokens: int, context: int) -> None:
    for prompt in prompts:
        if not prompt:
            raise GenerateError("a prompt is empty; give at least one token")
        if len(prompt) + max_tokens > context:
            raise GenerateError(
                "a prompt of {prompt} tokens and an answer of {max_tokens} don't "
                "fit into the model's {context} positions; shorten one of them",
                prompt=len(prompt),
                max_tokens=max_tokens,
                context=context,
            )


def _prefill(
    model: LanguageModel, prompts: Sequence[Sequence[int]], max_tokens: int
) -> tuple[Tensor, Cache]:
    """The logits after each prompt, (P, V), and the cache of all, with room for completions."""
    longest = max(map(len, prompts))
    padding = [longest - len(prompt) for prompt in prompts]
    padded = [[0] * pad + list(prompt) for pad, prompt in zip(padding, prompts, strict=True)]
    device = model.head_weight.device
    starts_P = torch.tensor(padding, device=device) if any(padding) else None
    cache = model.new_cache(len(prompts), longest + max_tokens, device, starts_P)
    return _logits(model, torch.tensor(padded, device=device), cache), cache


def _logits(model: LanguageModel, ids_MxT: Tensor, cache: Cache) -> Tensor:
    """Logits of the next tokens, (M, V), fp32."""
    hidden_MxTxD = model.read(ids_MxT, cache=cache)
    return model.head(hidden_MxTxD[:, -1]).float()


def _log_probs(logits_MxV: Tensor, chosen_M: Tensor) -> Tensor:
    return logits_MxV.log_softmax(-1).gather(1, chosen_M.unsqueeze(1)).squeeze(1)


def _append(
    completions: Rollouts, tokens: list[list[int]], log_probs_NxT: Tensor, stop_ids: frozenset[int]
) -> None:
    """Append each row up to its first stop id."""
    lengths = [
        next((at for at, token in enumerate(row, start=1) if token in stop_ids), len(row))
        for row in tokens
    ]
    ids = [row[:length] for row, length in zip(tokens, lengths, strict=True)]
    completions.ids.extend(ids)
    completions.ended.extend(row[-1] in stop_ids for row in ids)
    completions.log_probs.extend(
        row[:length] for row, length in zip(log_probs_NxT, lengths, strict=True)
    )


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.model.decoder import Decoder

    tiny = Decoder(ModelShape(64, 32, 2, 4, 2, 8, 64, max_positions=32))
    tiny.init_weights(0)
    print(rollout(tiny, [[1, 2], [4]], samples=2, max_tokens=8, temperature=1, top_p=0.9, seed=0,
                  stop_ids=range(8)))  # fmt: skip
    print("=== 自测通过 ===")
