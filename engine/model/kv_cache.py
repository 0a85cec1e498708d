"""The key/value cache of generation. Dimensions in names are those of `engine.model.decoder`."""

from __future__ import annotations

import torch
from torch import Tensor

from lmm_tui.engine.config.model_shape import ModelShape


class KVCache:
    """Keys and values of the positions seen so far, in buffers of a fixed capacity.

    With `starts_B` rows are padded from the left, so that all end together: the text of row b
    starts at slot starts_B[b], where its position is 0, and does not attend to the padding.
    """

    def __init__(
        self,
        shape: ModelShape,
        batch: int,
        capacity: int,
        device: torch.device,
        starts_B: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        size = (shape.num_layers, batch, shape.num_kv_heads, capacity, shape.head_dim)
        self.keys = torch.empty(size, device=device, dtype=dtype)
        self.values = torch.empty(size, device=device, dtype=dtype)
        self.starts_B = starts_B
        self.length = 0

    @property
    def capacity(self) -> int:
        return self.keys.shape[3]

    def extend(self, layer: int, k_BxKxTxC: Tensor, v_BxKxTxC: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values of a layer; returns all of its own, (B, K, S, C) each."""
        end = self.length + k_BxKxTxC.shape[2]
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, self.length : end] = k_BxKxTxC
        values[:, :, self.length : end] = v_BxKxTxC
        return keys[:, :, :end], values[:, :, :end]

    def positions(self, new: int) -> slice | Tensor:
        """The positions of the next `new` tokens: one range for all rows, or (B, T)."""
        slots_T = slice(self.length, self.length + new)
        if self.starts_B is None:
            return slots_T
        slots = torch.arange(slots_T.start, slots_T.stop, device=self.starts_B.device)
        return (slots - self.starts_B.unsqueeze(1)).clamp(min=0)

    def mask(self, new: int) -> Tensor | None:
        """The slots that each of `new` tokens attends to, (1 or B, 1, T, S).

        None stands for all slots up to its own. Padding attends to padding, since a token that
        attends to nothing gives NaN.
        """
        end = self.length + new
        if self.starts_B is None:
            if new == 1 or self.length == 0:
                return None
            causal_TxS = torch.ones(new, end, dtype=torch.bool, device=self.keys.device)
            return causal_TxS.tril(self.length)[None, None]
        text_BxS = torch.arange(end, device=self.starts_B.device) >= self.starts_B.unsqueeze(1)
        same_BxTxS = text_BxS[:, self.length :, None] == text_BxS[:, None, :]
        return same_BxTxS.tril(self.length).unsqueeze(1)

    def take(self, rows_N: Tensor) -> None:
        """Keep these rows only, in this order; a row may be taken several times."""
        self.keys = self.keys.index_select(1, rows_N)
        self.values = self.values.index_select(1, rows_N)
        if self.starts_B is not None:
            self.starts_B = self.starts_B[rows_N]


if __name__ == "__main__":
    shape = ModelShape(64, 32, 2, 4, 2, 8, 64)
    cache = KVCache(shape, 2, 4, torch.device("cpu"), starts_B=torch.tensor([0, 1]))
    mask = cache.mask(3)
    print(cache.positions(3), mask)
    assert mask is not None and not mask[1, 0, 2, 0] and mask[0, 0, 2, 0]
    print("=== 自测通过 ===")
