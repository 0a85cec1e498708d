"""The contract between training and a causal language model, whoever wrote it.

`engine.model.decoder` is ours, `engine.model.hf_model` any other of transformers. Stages, probes,
generation and evaluation go by this contract alone. Dimensions in names: B batch, T new positions,
D hidden, V vocabulary, and D may be larger where a head has an adapter or a bias.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmm_tui.engine.config.model_shape import ModelShape
from lmm_tui.engine.model.layout import Segments

HeadAdapter = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(hidden states, head) -> both with more columns, the same ones."""


def capped(logits: Tensor, softcap: float | None) -> Tensor:
    """Logits within the bounds of `softcap`, as `LanguageModel` says."""
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


class Cache(Protocol):
    """What a model remembers of the tokens that it has read."""

    length: int
    """Positions read so far."""

    def fan_out(self, prompt_of_N: Tensor, new: int) -> None:
        """Continue prompt prompt_of_N[n] in row n, by up to `new` tokens."""

    def take(self, rows_N: Tensor) -> None:
        """Keep these rows only, in this order."""

    def fix_shapes(self) -> bool:
        """Whether each turn of one token is the same operations on the same memory from here on."""


class LanguageModel(nn.Module, ABC):
    """A backbone from ids to hidden states, and a head from these to logits."""

    shape: ModelShape
    softcap: float | None = None
    """Logits are bounded: softcap * tanh(logits / softcap)."""
    head_adapter: HeadAdapter | None = None
    block_names: list[str]
    """The modules of the residual blocks, from the first to the last."""
    aliases: Mapping[str, str]
    """Parameters that are others under a second name, as a tied head: name -> name."""
    router_loss: Tensor | None = None
    """Of a mixture of experts: how uneven the experts are used, in the last pass with gradients;
    already multiplied with its coefficient."""
    _watcher: Callable[[Tensor], object] | None = None

    @property
    @abstractmethod
    def embedding_module(self) -> nn.Module:
        """The input embedding."""

    @property
    @abstractmethod
    def head_weight(self) -> Tensor:
        """The (V, D) matrix that turns hidden states into logits, without an adapter."""

    @abstractmethod
    def read(
        self,
        ids_BxT: Tensor,
        positions: Tensor | None = None,
        cache: Cache | None = None,
        segments: Segments | None = None,
    ) -> Tensor:
        """As `backbone`, never compiled."""

    @abstractmethod
    def new_cache(
        self, batch: int, capacity: int, device: torch.device, starts_B: Tensor | None = None
    ) -> Cache:
        """An empty cache of up to `capacity` positions.

        With `starts_B` rows are padded from the left: the text of row b starts at slot
        starts_B[b], where its position is 0, and does not attend to the padding.
        """

    @abstractmethod
    def compile_backbone(self) -> None:
        """Compile what `backbone` runs."""

    def recompute_activations(self) -> None:
        """Compute activations inside of a layer again in the backward pass: less memory, a third
        more work. Raises NotImplementedError where the model cannot."""
        raise NotImplementedError

    def without_dropout(self) -> None:
        """Switch dropout off, for losses that compare two passes of the same tokens."""

    @abstractmethod
    def blank(self) -> LanguageModel:
        """A model of the same architecture without adapters, its weights uninitialised."""

    def _backbone(
        self,
        ids_BxT: Tensor,
        positions: Tensor | None,
        cache: Cache | None,
        segments: Segments | None,
    ) -> Tensor:
        return self.read(ids_BxT, positions, cache, segments)

    def backbone(
        self,
        ids_BxT: Tensor,
        positions: Tensor | None = None,
        cache: Cache | None = None,
        segments: Segments | None = None,
    ) -> Tensor:
        """Last hidden states (B, T, D) of token ids (B, T).

        `positions`, (T,) or (B, T), continue those of the cache by default. With `segments`, the
        packed sequences of each row, a token attends to its own sequence only.
        """
        hidden_BxTxD = self._backbone(ids_BxT, positions, cache, segments)
        if self._watcher is not None:
            self._watcher(hidden_BxTxD.detach())
        return hidden_BxTxD

    @contextmanager
    def watching(self, watcher: Callable[[Tensor], object]) -> Iterator[None]:
        """Call `watcher` with the hidden states of each `backbone` in the `with` block."""
        self._watcher = watcher
        try:
            yield
        finally:
            self._watcher = None

    def projection(self, hidden_BxTxD: Tensor) -> tuple[Tensor, Tensor]:
        """Two tensors whose product are the logits before `softcap`, for `engine.model.loss`.

        The hidden states and `head_weight`, both with more columns where the head has an adapter.
        """
        if self.head_adapter is None:
            return hidden_BxTxD, self.head_weight
        return self.head_adapter(hidden_BxTxD, self.head_weight)

    def head(self, hidden_BxTxD: Tensor) -> Tensor:
        """Logits (B, T, V)."""
        return capped(F.linear(*self.projection(hidden_BxTxD)), self.softcap)

    def forward(self, given: Any) -> Any:
        """Logits (B, T, V) of token ids (B, T), or what a function of the model returns.

        A loss is given as a function, for it avoids the logits of all tokens
        (`engine.model.loss`), and what is wrapped around `__call__`, as several ranks have it,
        has to see all that it reads.
        """
        return self.head(self.backbone(given)) if isinstance(given, Tensor) else given(self)


if __name__ == "__main__":
    print([name for name in vars(LanguageModel) if not name.startswith("_")])
    print("=== 自测通过 ===")
