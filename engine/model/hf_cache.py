"""The key/value cache of models of transformers, behind the contract of `language_model.Cache`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class HfCache:
    """transformers' own cache, which knows of sliding windows, and how far it is filled."""

    def __init__(self, config: Any, starts_B: Tensor | None = None) -> None:
        self._config = config
        self.inner = self.fresh()
        self.starts_B = starts_B
        self.length = 0

    def fresh(self) -> Any:
        """An empty cache of transformers."""
        from transformers import DynamicCache

        return DynamicCache(config=self._config)

    def positions(self, new: int, device: torch.device) -> Tensor:
        """The positions of the next `new` tokens, (1 or B, T)."""
        slots_1xT = torch.arange(self.length, self.length + new, device=device).unsqueeze(0)
        if self.starts_B is None:
            return slots_1xT
        return (slots_1xT - self.starts_B.unsqueeze(1)).clamp(min=0)

    def is_text(self, new: int) -> Tensor | None:
        """Which slots hold text rather than padding, (B, S); None where all do."""
        if self.starts_B is None:
            return None
        slots_S = torch.arange(self.length + new, device=self.starts_B.device)
        return (slots_S >= self.starts_B.unsqueeze(1)).long()

    def fan_out(self, prompt_of_N: Tensor, new: int) -> None:
        """A copy of the prompt for each row; `new` is of no account, for the cache grows."""
        rows_N = prompt_of_N if self.starts_B is None else prompt_of_N.to(self.starts_B.device)
        self.take(rows_N)

    def fix_shapes(self) -> bool:
        return False

    def take(self, rows_N: Tensor) -> None:
        self.inner.batch_select_indices(rows_N)
        if self.starts_B is not None:
            self.starts_B = self.starts_B[rows_N]


if __name__ == "__main__":
    from types import SimpleNamespace

    demo: Any = SimpleNamespace(starts_B=torch.tensor([0, 2]), length=1)
    print(HfCache.positions(demo, 3, torch.device("cpu")), HfCache.is_text(demo, 3))
    print("=== 自测通过 ===")
