"""Refuses a configuration that describes far more weights than its files can hold.

transformers makes the weights that no file has, whatever memory that takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lmm_tui.engine.checkpoints.hf_config import WeightsError
from lmm_tui.engine.library_import import import_quietly

if TYPE_CHECKING:
    from pathlib import Path


def refuse_more_than_file(config: Any, origin: Path, held: int, most: int) -> None:
    """Raise WeightsError if `config` of transformers has more than `most` weights.

    `held` are the bytes of the files of weights.
    """
    import_quietly("transformers.modeling_utils")
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(config)
    except Exception:  # Numbers that contradict each other are told by who loads the model.
        return
    count = sum(parameter.numel() for parameter in model.parameters())
    if count > most:
        raise WeightsError(
            "{path}: its configuration describes a model of {count:,} weights, and the files of "
            "weights hold {held:,} bytes; give the configuration that belongs to them",
            path=origin,
            count=count,
            held=held,
        )


if __name__ == "__main__":
    from pathlib import Path

    from transformers import LlamaConfig

    small = LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                        num_attention_heads=2)  # fmt: skip
    refuse_more_than_file(small, Path("small"), held=20_000, most=20_000)
    small.vocab_size = 10**9
    try:
        refuse_more_than_file(small, Path("liar"), held=20_000, most=20_000)
        raise AssertionError
    except WeightsError as refusal:
        print(refusal)
    print("=== 自测通过 ===")
