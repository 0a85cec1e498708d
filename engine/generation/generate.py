"""Generates tokens one by one from a live model, and computes the loss of each token of a text.

Many completions at once are `engine.generation.rollout`. Training is unchanged: the model's mode is
restored, random numbers come from a generator of the call, and a compiled model runs eager here,
since each call has shapes of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lmm_tui.engine.device import sort_rows
from lmm_tui.engine.model.language_model import Cache, LanguageModel
from lmm_tui.engine.model.loss import token_nll
from lmm_tui.engine.transfer import to_device
from lmm_tui.errors import LmmError
from lmm_tui.message import Message

DIVERGED = Message("the model's logits are not finite: the run has diverged")


class GenerateError(LmmError):
    """A prompt or a model that nothing can be generated from."""


@torch.no_grad()
def generate(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    *,
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    stop_ids: Collection[int] = (),
) -> Iterator[int]:
    """Yield up to `max_tokens` new token ids; a stop id ends the text and is not yielded.

    `temperature` 0 is greedy; `top_p` in (0, 1] keeps the smallest set of tokens whose probability
    reaches it. Equal seeds give equal texts. When the context is full, its older half is dropped.
    Raises GenerateError for an empty prompt and for logits that are not finite.
    """
    if not prompt_ids:
        raise GenerateError("the prompt is empty; give at least one token")
    generator = torch.Generator().manual_seed(seed)
    context = list(prompt_ids)[-model.shape.max_positions :]
    capacity = min(model.shape.max_positions, len(context) + max_tokens)
    cache, new = _empty_cache(model, capacity), context
    for _ in range(max_tokens):
        if cache.length + len(new) > capacity:
            context = context[-max(1, capacity // 2) :]
            cache, new = _empty_cache(model, capacity), context
        logits_V = _next_logits(model, new, cache)
        uniform = to_device(torch.rand((), generator=generator), logits_V.device)
        drawn = draw(logits_V, temperature, top_p, uniform)
        # One number per token is read from the device, whatever it says.
        token = int(torch.where(logits_V.isfinite().all(), drawn, -1))
        if token < 0:
            raise GenerateError(DIVERGED)
        if token in stop_ids:
            return
        yield token
        context.append(token)
        new = [token]


@torch.no_grad()
def token_losses(model: LanguageModel, ids: Sequence[int]) -> list[float]:
    """-log p in nats of ids[1], ids[2], …, each given the tokens before it.

    A text longer than the context is read in windows that do not overlap.
    """
    losses: list[float] = []
    window = model.shape.max_positions
    for start in range(0, len(ids) - 1, window):
        text_1xT = torch.tensor([ids[start : start + window + 1]], device=model.head_weight.device)
        with evaluating(model):
            projection = model.projection(model.read(text_1xT[:, :-1]))
        losses += token_nll(*projection, text_1xT[:, 1:], model.softcap)[0].tolist()
    return losses


def draw(logits_NxV: Tensor, temperature: float, top_p: float, uniform_N: Tensor) -> Tensor:
    """Sample one token id per row, (N,), by inverting the cumulative distribution at `uniform_N`.

    `uniform_N` is in [0, 1). `temperature` 0 is greedy; `top_p` in (0, 1] keeps the most likely
    tokens, as few as reach this probability together, and those as likely as the last of them
    (nucleus sampling, arXiv 1904.09751). Logits that are not finite give any id. A single row may
    come without N.
    """
    if temperature == 0:
        return logits_NxV.argmax(-1)
    weights_NxV = (logits_NxV - logits_NxV.amax(-1, keepdim=True)).div_(temperature).exp_()
    if top_p < 1:
        weights_NxV.masked_fill_(weights_NxV < _least_in_nucleus(weights_NxV, top_p), 0)
    # One uniform number per row, where multinomial takes one per token: a tenth of the time on a
    # CPU, and a row does not depend on the other rows of the batch.
    reached_NxV = weights_NxV.cumsum(-1)
    target_Nx1 = uniform_N.unsqueeze(-1) * reached_NxV[..., -1:]
    drawn_Nx1 = torch.searchsorted(reached_NxV, target_Nx1, right=True)
    return drawn_Nx1.squeeze(-1).clamp_(max=logits_NxV.shape[-1] - 1)


def _least_in_nucleus(weights_NxV: Tensor, top_p: float) -> Tensor:
    """The smallest weight in the nucleus, (N, 1)."""
    falling_NxV = sort_rows(weights_NxV).flip(-1)
    reached_NxV = falling_NxV.cumsum(-1)
    before_NxV = reached_NxV - falling_NxV
    kept_Nx1 = (before_NxV < top_p * reached_NxV[..., -1:]).sum(-1, keepdim=True)
    return falling_NxV.gather(-1, (kept_Nx1 - 1).clamp_(min=0))


def _next_logits(model: LanguageModel, new: list[int], cache: Cache) -> Tensor:
    """Logits (V,) of the token after `new`, fp32."""
    ids_1xT = to_device(torch.tensor([new]), model.head_weight.device)
    with evaluating(model):
        hidden_1xTxD = model.read(ids_1xT, cache=cache)
        return model.head(hidden_1xTxD[0, -1]).float()


def _empty_cache(model: LanguageModel, capacity: int) -> Cache:
    return model.new_cache(1, capacity, model.head_weight.device)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode in the `with` block; each module's own mode is restored after it."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.model.decoder import Decoder

    tiny = Decoder(ModelShape(64, 32, 2, 4, 2, 8, 64, max_positions=16))
    tiny.init_weights(0)
    print(*generate(tiny, [1, 2, 3], max_tokens=24, temperature=0.8, top_p=0.95, seed=0))
    print(token_losses(tiny, [1, 2, 3]))
    print("=== 自测通过 ===")
