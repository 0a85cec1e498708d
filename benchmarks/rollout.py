"""Our rollouts against transformers' `generate`: the same weights, prompts and sampling.

8 prompts, 8 answers each, 64 tokens an answer, with nothing that could end one. Prompts are as long
as chat prompts are, padded from the left for transformers, which reads each once per answer. Both
peers have one thread, so that a busy machine hits them alike, and take turns; medians are compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from benchmarks.measure import QUICK, medians, report
from benchmarks.qwen3 import qwen3
from lmm_tui.engine.config.model_shape import PRESETS
from lmm_tui.engine.generation.rollout import rollout
from lmm_tui.engine.model.decoder import Decoder

TITLE = "rollout: 8 answers to each of 8 prompts against transformers' generate"

LIMIT = 2.5

_SHAPE = PRESETS["tiny"]
_PROMPTS, _SAMPLES, _TOKENS = 8, 8, 64
_LENGTHS = range(96, 160, 8)


def run() -> None:
    model = Decoder(_SHAPE)
    model.init_weights(0)
    generator = torch.Generator().manual_seed(0)
    prompts = [
        torch.randint(1, _SHAPE.vocab_size, (length,), generator=generator).tolist()
        for length in _LENGTHS
    ]
    theirs = _transformers(model)
    with _one_thread():
        for top_p in (1.0,) if QUICK else (1.0, 0.95):
            peers: dict[str, Callable[[], int]] = {
                "ours": partial(_ours, model, prompts, top_p),
                "transformers": partial(theirs, prompts, top_p),
            }
            ours, transformers = medians(
                {name: partial(_tokens_per_s, peer) for name, peer in peers.items()},
                1 if QUICK else 3,
                warm_up=not QUICK,
            ).values()
            report(f"rollout, top_p {top_p:g}", ours, transformers, "transformers",
                   unit="tokens/s", at_least=LIMIT)  # fmt: skip


def _tokens_per_s(peer: Callable[[], int]) -> float:
    start = time.perf_counter()
    written = peer()
    assert written == _PROMPTS * _SAMPLES * _TOKENS
    return written / (time.perf_counter() - start)


def _ours(model: Decoder, prompts: list[list[int]], top_p: float) -> int:
    written = rollout(
        model,
        prompts,
        samples=_SAMPLES,
        max_tokens=_TOKENS,
        temperature=1.0,
        top_p=top_p,
        seed=0,
        stop_ids=(),
    )
    return sum(map(len, written.ids))


def _transformers(model: Decoder) -> Callable[[list[list[int]], float], int]:
    """`generate` of the same model, as tokens written."""
    peer = qwen3(_SHAPE).eval()
    peer.load_state_dict(model.state_dict() | {"lm_head.weight": model.head_weight})
    peer.generation_config.eos_token_id = None

    def generate(prompts: list[list[int]], top_p: float) -> int:
        ids, mask = _padded(prompts)
        written: Tensor = peer.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_p=top_p,
            top_k=0,
            num_return_sequences=_SAMPLES,
            max_new_tokens=_TOKENS,
            pad_token_id=0,
        )
        return written[:, ids.shape[1] :].numel()

    return generate


def _padded(prompts: list[list[int]]) -> tuple[Tensor, Tensor]:
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    return ids, (ids > 0).long()


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
