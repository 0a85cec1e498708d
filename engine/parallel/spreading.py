"""Spreads a model over the ranks of its run, in the way that the configuration says."""

from __future__ import annotations

import torch

from lmm_tui.engine.model.language_model import LanguageModel
from lmm_tui.engine.parallel.ranks import Ranks
from lmm_tui.engine.parallel.spread import Spread


def spread(model: LanguageModel, ranks: Ranks, shard: str, *, bf16_params: bool = False) -> Spread:
    """Spread a model over the ranks, once its weights are set and before optimisers are made.

    `shard` and `bf16_params` as in the configuration, checked by `refuse_uneven`.
    """
    if ranks.is_alone:
        return Spread(model)
    # It takes a second to import, which one process never needs.
    from lmm_tui.engine.parallel.sharding import Replicated, Sharded

    if shard == "none":
        return Replicated(model, ranks)
    return Sharded(model, ranks, shard, torch.bfloat16 if bf16_params else None)


if __name__ == "__main__":
    from lmm_tui.engine.config.model_shape import ModelShape
    from lmm_tui.engine.model.decoder import Decoder

    tiny = Decoder(ModelShape(64, 16, 2, 2, 1, 8, 32))
    tiny.init_weights(0)
    print(type(spread(tiny, Ranks(), "none")).__name__)
    print("=== 自测通过 ===")
