"""The key/value cache of generation. Dimensions in names are those of `engine.model.decoder`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lmm_tui.engine.config.model_shape import ModelShape


@dataclass(frozen=True)
class SharedPrompts:
    """P prompts that were read once, and which of them each row of the cache continues.

    Rows and prompts meet in a grid of P * R places, R for each prompt: what rows ask of the same
    prompt is one matrix product, which reads the prompt's keys once and not once a row.
    """

    keys: Tensor
    """(layers, P, K, S, C)."""
    values: Tensor
    padding_Px1x1xS: Tensor | None
    """Added to scores: -inf where a prompt is padded."""
    place_M: Tensor
    """The place of each row."""
    rows: int
    """R."""

    @staticmethod
    def of(
        keys: Tensor, values: Tensor, starts_P: Tensor | None, prompt_of_N: Tensor
    ) -> SharedPrompts:
        device, length = keys.device, keys.shape[3]
        counts_P = prompt_of_N.bincount(minlength=keys.shape[1])
        first_N = (counts_P.cumsum(0) - counts_P)[prompt_of_N]
        rows = int(counts_P.max())
        place_N = prompt_of_N * rows + torch.arange(len(prompt_of_N)) - first_N
        padding = None
        if starts_P is not None:
            is_padding_PxS = torch.arange(length, device=device) < starts_P.unsqueeze(1)
            padding_PxS = torch.zeros(is_padding_PxS.shape, dtype=keys.dtype, device=device)
            padding = padding_PxS.masked_fill_(is_padding_PxS, -torch.inf)[:, None, None]
        return SharedPrompts(keys, values, padding, place_N.to(device), rows)

    def product(self, x_MxKxGxI: Tensor, y_PxKxIxO: Tensor, scores: bool = False) -> Tensor:
        """x of each row with y of its prompt, (M, K, G, O); of `scores` padding is masked."""
        heads, group, inner = x_MxKxGxI.shape[1:]
        grid = x_MxKxGxI.contiguous()
        if not self.full:
            grid = grid.new_zeros(self.keys.shape[1] * self.rows, heads, group, inner)
            grid.index_copy_(0, self.place_M, x_MxKxGxI)
        x_PxKxRGxI = grid.view(-1, self.rows, heads, group, inner).transpose(1, 2).flatten(2, 3)
        z_PxKxRGxO = x_PxKxRGxI @ y_PxKxIxO
        if scores and self.padding_Px1x1xS is not None:
            z_PxKxRGxO += self.padding_Px1x1xS
        z_PxRxKxGxO = z_PxKxRGxO.unflatten(2, (self.rows, group)).transpose(1, 2)
        z_NxKxGxO = z_PxRxKxGxO.flatten(0, 1)
        return z_NxKxGxO if self.full else z_NxKxGxO[self.place_M]

    @property
    def full(self) -> bool:
        """Whether row n stands in place n, and no place is left."""
        return len(self.place_M) == self.keys.shape[1] * self.rows

    def take(self, rows_N: Tensor) -> SharedPrompts:
        """Keep these rows, and the prompts that they continue."""
        place_N = self.place_M[rows_N]
        prompts, number_N = (place_N // self.rows).unique(return_inverse=True)
        padding = self.padding_Px1x1xS
        return replace(
            self,
            keys=self.keys.index_select(1, prompts),
            values=self.values.index_select(1, prompts),
            padding_Px1x1xS=None if padding is None else padding[prompts],
            place_M=number_N * self.rows + place_N % self.rows,
        )


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
        self.prompts: SharedPrompts | None = None
        self._shared = 0
        """Positions that are in `prompts` and not in `keys`."""
        self._slot_1: Tensor | None = None
        """`length` on the device, once shapes are fixed."""

    def fan_out(self, prompt_of_N: Tensor, new: int) -> None:
        """Continue prompt prompt_of_N[n] in row n by up to `new` tokens; prompts are kept once.

        `prompt_of_N` is sorted, on the CPU, and has every prompt.
        """
        if len(prompt_of_N) == self.keys.shape[1]:
            return
        layers, _, heads, _, width = self.keys.shape
        seen = self.keys[:, :, :, : self.length], self.values[:, :, :, : self.length]
        self.prompts = SharedPrompts.of(*seen, self.starts_B, prompt_of_N)
        self._shared = self.length
        size = (layers, len(prompt_of_N), heads, new, width)
        self.keys, self.values = self.keys.new_empty(size), self.values.new_empty(size)
        if self.starts_B is not None:
            self.starts_B = self.starts_B[prompt_of_N.to(self.starts_B.device)]

    def fix_shapes(self) -> bool:
        """From here on one token a turn is read, by the same operations on the same memory in each,
        so that a turn may be recorded and repeated; `length` stands still then."""
        self._slot_1 = torch.full((1,), self.length, device=self.keys.device)
        # What was never written is masked, but 0 * NaN is NaN.
        self.keys[:, :, :, self.length - self._shared :] = 0
        self.values[:, :, :, self.length - self._shared :] = 0
        return True

    def extend(self, layer: int, k_BxKxTxC: Tensor, v_BxKxTxC: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values of a layer; returns all of its own, (B, K, S, C) each, without
        those of `prompts`."""
        keys, values = self.keys[layer], self.values[layer]
        if self._slot_1 is not None:
            slot_1 = self._slot_1 - self._shared
            keys.index_copy_(2, slot_1, k_BxKxTxC.to(keys.dtype))
            values.index_copy_(2, slot_1, v_BxKxTxC.to(values.dtype))
            return keys, values
        start = self.length - self._shared
        end = start + k_BxKxTxC.shape[2]
        keys[:, :, start:end] = k_BxKxTxC
        values[:, :, start:end] = v_BxKxTxC
        return keys[:, :, :end], values[:, :, :end]

    def advance(self, new: int) -> None:
        """Count `new` tokens that every layer has seen."""
        if self._slot_1 is not None:
            self._slot_1 += new
        else:
            self.length += new

    def positions(self, new: int) -> slice | Tensor:
        """The positions of the next `new` tokens: one range for all rows, or (1 or B, T)."""
        slots_T = slice(self.length, self.length + new)
        if self._slot_1 is None and self.starts_B is None:
            return slots_T
        slots = self._slot_1
        if slots is None:
            slots = torch.arange(slots_T.start, slots_T.stop, device=self.keys.device)
        if self.starts_B is None:
            return slots.unsqueeze(0)
        return (slots - self.starts_B.unsqueeze(1)).clamp(min=0)

    def mask(self, new: int) -> Tensor | None:
        """The slots of `extend` that each of `new` tokens attends to, (1 or B, 1, T, S).

        None stands for all slots up to its own. Padding attends to padding, since a token that
        attends to nothing gives NaN.
        """
        if self._slot_1 is not None:
            slots_S = torch.arange(self.keys.shape[3], device=self.keys.device)
            seen_1xS = (slots_S <= self._slot_1 - self._shared).unsqueeze(0)
            if self.starts_B is not None and self.prompts is None:
                seen_1xS = seen_1xS & (slots_S >= self.starts_B.unsqueeze(1))
            return seen_1xS[:, None, None]
        end = self.length + new
        if self.starts_B is None or self.prompts is not None:
            if new == 1 or self.length == 0:
                return None
            causal_TxS = torch.ones(new, end, dtype=torch.bool, device=self.keys.device)
            return causal_TxS.tril(self.length)[None, None]
        text_BxS = torch.arange(end, device=self.starts_B.device) >= self.starts_B.unsqueeze(1)
        same_BxTxS = text_BxS[:, self.length :, None] == text_BxS[:, None, :]
        return same_BxTxS.tril(self.length).unsqueeze(1)

    def take(self, rows_N: Tensor) -> None:
        """Keep these rows only, in this order."""
        self.keys = self.keys.index_select(1, rows_N)
        self.values = self.values.index_select(1, rows_N)
        if self.starts_B is not None:
            self.starts_B = self.starts_B[rows_N]
        if self.prompts is not None:
            self.prompts = self.prompts.take(rows_N)


if __name__ == "__main__":
    shape = ModelShape(64, 32, 2, 4, 2, 8, 64)
    cache = KVCache(shape, 2, 4, torch.device("cpu"), starts_B=torch.tensor([0, 1]))
    mask = cache.mask(3)
    print(cache.positions(3), mask)
    assert mask is not None and not mask[1, 0, 2, 0] and mask[0, 0, 2, 0]
    cache.advance(3)
    cache.fan_out(torch.tensor([0, 0, 1]), 4)
    cache.take(torch.tensor([2]))
    assert cache.prompts is not None and cache.prompts.keys.shape[1] == 1
    print("=== 自测通过 ===")
