"""The loop of generation: rows that read a prompt and then write a token each per turn.

Tokens are drawn where the model is. On a GPU a turn has fixed shapes, is launched as one graph, and
the host looks for ends every `ENDS_EVERY` turns only; what is written behind an end is of no
account. Which token ends a row for good, and what becomes of the tokens, callers decide.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from lmm_tui.engine.cuda_graph import Work, repeatable
from lmm_tui.engine.device import is_asynchronous
from lmm_tui.engine.generation.draw import draw
from lmm_tui.engine.model.language_model import Cache, LanguageModel
from lmm_tui.engine.transfer import to_device

ENDS_EVERY = 8
"""Turns of a GPU between two looks at which rows have ended. A look makes the host wait, and then
the GPU for the host."""

_COMPACT_FROM = 0.25
"""The share of ended rows from which the cache is copied without them: 64 completions that end
after 16 of 64 tokens on average then take 0.57 of the time."""


_WORTH_RECORDING = 32
"""Turns from which a graph is recorded: that waits for the GPU and empties its cache."""


class Turns:
    """Row n continues prompt prompt_of_N[n] with the random numbers uniforms_NxT[n].

    `prompt_of_N` is sorted and has every prompt; there are T turns. All of it is called under
    `torch.no_grad` and in evaluation mode. A row is drawn from on after its stop id.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompts: Sequence[Sequence[int]],
        prompt_of_N: Tensor,
        uniforms_NxT: Tensor,
        *,
        temperature: float,
        top_p: float,
        stop_ids: Collection[int] = (),
    ) -> None:
        rows, turns = uniforms_NxT.shape
        self._model = model
        self._device = device = model.head_weight.device
        self._temperature, self._top_p = temperature, top_p
        self._uniforms_NxT = to_device(uniforms_NxT, device)
        self.tokens_NxT = torch.full((rows, turns), -1, device=device)
        self.log_probs_NxT = torch.zeros(rows, turns, device=device)
        """log p of each token at the sampling temperature (1 where that is 0) and without top_p;
        not finite where the logits are not."""
        self.done = 0
        """Turns so far; what is behind them is undefined."""
        self._at_1 = torch.zeros(1, dtype=torch.long, device=device)
        self._rows_M = torch.arange(rows, device=device)
        self._ended_M = torch.zeros(rows, dtype=torch.bool, device=device)
        self._new_M = torch.zeros(rows, dtype=torch.long, device=device)

        logits_PxV, self._cache = _prefill(model, prompts, turns - 1)
        self._cache.fan_out(prompt_of_N, turns - 1)
        self._asynchronous = is_asynchronous(device)
        self._fixed = self._asynchronous and turns >= _WORTH_RECORDING and self._cache.fix_shapes()
        self._turn = self._next_turn()
        self._stops = bool(stop_ids)
        vocabulary = torch.arange(logits_PxV.shape[1])
        is_stop_V = torch.isin(vocabulary, torch.tensor(sorted(stop_ids), dtype=torch.long))
        self._is_stop_V = to_device(is_stop_V, device)
        self._write(logits_PxV[to_device(prompt_of_N, device)])
        self.done = 1

    def until_look(self) -> bool:
        """Write the next token of each row that has not ended, on a GPU the next few.

        False where nothing is left to write.
        """
        turns = self._uniforms_NxT.shape[1]
        every = ENDS_EVERY if self._asynchronous else 1
        if self.done == turns or (self.done % every == 0 and not self._drop_ended()):
            return False
        end = min(turns, self.done - self.done % every + every)
        while self.done < end:
            self._turn()
            self.done += 1
        return True

    def _next_turn(self) -> Work:
        return repeatable(self._continue, self._device) if self._fixed else self._continue

    def _continue(self) -> None:
        self._write(_logits(self._model, self._new_M.unsqueeze(1), self._cache))

    def _write(self, logits_MxV: Tensor) -> None:
        """Draw a token of each row: nothing that the host knows changes from turn to turn."""
        where = self._rows_M, self._at_1
        uniforms_M = self._uniforms_NxT[where]
        new_M, log_probs_M = draw(logits_MxV, self._temperature, self._top_p, uniforms_M)
        self._new_M.copy_(new_M)
        self.tokens_NxT[where] = new_M
        self.log_probs_NxT[where] = log_probs_M
        self._ended_M |= self._is_stop_V[new_M]
        self._at_1 += 1

    def _drop_ended(self) -> bool:
        """Remove rows that have ended once they are many; whether any row is left."""
        if not self._stops:
            return True
        active = (~self._ended_M).nonzero().squeeze(1)  # The one wait for the device.
        if not len(active):
            return False
        present = len(self._rows_M)
        wanted = len(active)
        if self._asynchronous:
            # Each number of rows is a graph of its own: halves are few.
            wanted = 2 ** math.ceil(math.log2(wanted))
        if wanted > (1 - _COMPACT_FROM) * present:
            return True
        ended = self._ended_M.nonzero().squeeze(1)[: wanted - len(active)]
        kept = torch.cat([active, ended])
        self._cache.take(kept)
        self._rows_M, self._ended_M = self._rows_M[kept], self._ended_M[kept]
        self._new_M = self._new_M[kept]
        self._turn = self._next_turn()
        return True


def _prefill(
    model: LanguageModel, prompts: Sequence[Sequence[int]], room: int
) -> tuple[Tensor, Cache]:
    """The logits after each prompt, (P, V), and the cache of all, with room for more tokens."""
    longest = max(map(len, prompts))
    padding = [longest - len(prompt) for prompt in prompts]
    padded = [[0] * pad + list(prompt) for pad, prompt in zip(padding, prompts, strict=True)]
    device = model.head_weight.device
    starts_P = torch.tensor(padding, device=device) if any(padding) else None
    cache = model.new_cache(len(prompts), longest + room, device, starts_P)
    return _logits(model, torch.tensor(padded, device=device), cache), cache


def _logits(model: LanguageModel, ids_MxT: Tensor, cache: Cache) -> Tensor:
    """Logits of the next tokens, (M, V), fp32."""
    hidden_MxTxD = model.read(ids_MxT, cache=cache)
    return model.head(hidden_MxTxD[:, -1]).float()


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.model.decoder import Decoder

    tiny = Decoder(ModelShape(64, 32, 2, 4, 2, 8, 64, max_positions=32)).eval()
    tiny.init_weights(0)
    with torch.no_grad():
        turns = Turns(tiny, [[1, 2], [4]], torch.tensor([0, 0, 1]), torch.rand(3, 8),
                      temperature=1.0, top_p=0.9)  # fmt: skip
        while turns.until_look():
            pass
    print(turns.tokens_NxT)
    assert (turns.tokens_NxT >= 0).all()
    print("=== 自测通过 ===")
