"""Samples many completions of many prompts at once, for reinforcement learning and evaluation.

The token loop is `engine.generation.turns`: prompts are read and kept once, however many
completions each gets, and rows that have ended are removed.
Training is unchanged, as in `engine.generation.generate`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmm_tui.engine.device import residual_dtype
from lmm_tui.engine.generation.generate import DIVERGED, GenerateError, evaluating
from lmm_tui.engine.generation.turns import Turns
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.model.primitives import cast_once


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
    dtype = residual_dtype(model.head_weight.device)
    generator = torch.Generator().manual_seed(seed)
    uniforms_NxT = torch.rand(skip + rows, max_tokens, generator=generator)[skip:]
    prompt_of_N = torch.arange(len(prompts)).repeat_interleave(samples)
    size = -(-rows // parts)
    completions = Rollouts([], [], [])
    for uniforms_AxT, prompt_of_A in zip(
        uniforms_NxT.split(size), prompt_of_N.split(size), strict=True
    ):
        first, last = int(prompt_of_A[0]), int(prompt_of_A[-1])
        with evaluating(model), cast_once(model, dtype):
            turns = Turns(
                model,
                prompts[first : last + 1],
                prompt_of_A - first,
                uniforms_AxT,
                temperature=temperature,
                top_p=top_p,
                stop_ids=stop_ids,
            )
            while turns.until_look():
                pass
        log_probs_AxT = turns.log_probs_NxT.cpu()
        if not log_probs_AxT.isfinite().all():
            raise GenerateError(DIVERGED)
        _append(completions, turns.tokens_NxT.tolist(), log_probs_AxT, frozenset(stop_ids))
    return completions


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
