"""Generates tokens one by one from a live model, and computes the loss of each token of a text.

Many completions at once are `engine.generation.rollout`. Training is unchanged: the model's mode is
restored, random numbers come from a generator of the call, and a compiled model runs eager here,
since each call has shapes of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from lmm_tui.engine.device import residual_dtype
from lmm_tui.engine.generation.turns import Turns
from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.model.loss import token_nll
from lmm_tui.engine.model.primitives import cast_once
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
    uniforms_1xT = torch.rand(1, max_tokens, generator=generator)
    positions = model.shape.max_positions
    context, written = list(prompt_ids)[-positions:], 0
    with cast_once(model, residual_dtype(model.head_weight.device)):
        while written < max_tokens:
            # A turn reads the token of the one before; the last one's need not fit.
            room = min(max_tokens - written, positions - len(context) + 1)
            with evaluating(model):
                turns = Turns(
                    model,
                    [context],
                    torch.zeros(1, dtype=torch.long),
                    uniforms_1xT[:, written : written + room],
                    temperature=temperature,
                    top_p=top_p,
                )
            seen, more = 0, True
            while more:
                for token in _read(turns, seen):
                    if token < 0:
                        raise GenerateError(DIVERGED)
                    if token in stop_ids:
                        return
                    yield token
                    context.append(token)
                seen = turns.done
                with evaluating(model):
                    more = turns.until_look()
            written += seen
            context = context[-max(1, positions // 2) :]


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


def _read(turns: Turns, seen: int) -> list[int]:
    """The tokens behind the first `seen`, in one transfer; -1 where logits were not finite."""
    finite = turns.log_probs_NxT.isfinite()
    tokens: list[int] = torch.where(finite, turns.tokens_NxT, -1)[0, seen : turns.done].tolist()
    return tokens


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
